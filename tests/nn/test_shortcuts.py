"""Augmented shortcuts on every kind of block that adds to its input."""

from __future__ import annotations

import pytest

from dnas.blocks import KINDS
from dnas.errors import UserError
from dnas.export import onnx as onnx_export
from dnas.export import parity
from dnas.export.trace import trace, weights_of
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.graph.parts import nodes_of
from dnas.nn.inherit import inherit
from dnas.ops import Residual
from tests.nn.test_one_hot import SHORTCUTS, random_variables


def without(block: dict, **fields: int) -> dict:
    """The block with these shortcut fields in place of its own."""
    ((kind, given),) = block.items()
    kept = {name: value for name, value in given.items() if not name.startswith("shortcut")}
    return {kind: kept | (fields if "shortcuts" in given else {})}


def test_every_kind_with_a_residual_has_them():
    graph = graph_of(space_from_data(SHORTCUTS, "shortcuts"))
    adding = {
        use.kind for use in graph.uses if any(isinstance(node.operator, Residual) for node in nodes_of(use.parts))
    }
    assert adding == {name for name, kind in KINDS.items() if "shortcuts" in kind.fields} - {"transformer"}


def test_none_is_no_change():
    plain = {**SHORTCUTS, "trunk": [without(block) for block in SHORTCUTS["trunk"]]}
    zero = {**SHORTCUTS, "trunk": [without(block, shortcuts=0) for block in SHORTCUTS["trunk"]]}
    assert str(graph_of(space_from_data(plain, "plain"))) == str(graph_of(space_from_data(zero, "zero")))


def test_they_are_exported():
    ort = pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    space = space_from_data(SHORTCUTS, "shortcuts")
    found = architecture(space, {choice.name: 0 for choice in space.choices})
    variables = inherit(random_variables(space, 1), found)
    model = onnx_export.model(trace(found.network), weights_of(variables))
    session = ort.InferenceSession(model.SerializeToString())

    def run(images):
        return session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0]

    assert parity.check(found.network, variables, run, "ONNX") < parity.LIMIT


@pytest.mark.parametrize("fields", [{"out": 8, "stride": 2}, {"out": 12}, {"out": {"choices": [8, 12]}}])
def test_a_block_that_may_lose_its_input_refuses_them(fields):
    trunk = [SHORTCUTS["trunk"][0], {"mbconv": {**fields, "shortcuts": 1}}]
    data = {**SHORTCUTS, "trunk": trunk, "head": [{"pool": {}}, {"linear": {"out": "$classes"}}]}
    with pytest.raises(UserError, match="input is always added"):
        graph_of(space_from_data(data, "refused"))
