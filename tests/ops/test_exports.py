"""Operators that read one tensor, each by itself in every target that has a writer for it: the same numbers."""

from __future__ import annotations

import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from dnas.export import flax_code, torch_code
from dnas.export.flax_writers import WRITERS as FLAX
from dnas.export.onnx_writers import WRITERS as ONNX
from dnas.export.torch_writers import WRITERS as TORCH
from dnas.export.trace import Network, network_of, weights_of
from dnas.graph import Builder
from dnas.graph.graph import Graph
from dnas.graph.parts import BlockUse
from dnas.nn.gates import Layout, one_hot
from dnas.ops.tensor import CHANNELS, ROWS, Value
from tests.nn.graphs import Held, evaluated
from tests.ops.test_contract import EXAMPLES, WIDE, arrays, fixed

ALONE = sorted(
    name
    for name, example in EXAMPLES.items()
    if len(x := example.inputs(fixed(WIDE))) == 1 and CHANNELS in x[0].names and name != "mask"
)


class Case:
    """A network of one operator, its weights, an input and the result."""

    def __init__(self, name: str):
        example, held = EXAMPLES[name], Held()
        (x,), (self.given,) = example.inputs(fixed(WIDE)), arrays(name)
        operator, self.is_map = example.make(fixed(WIDE)), ROWS in x.names

        def built(net: Builder, x):
            return (net.add("op", operator, x),)

        builder = Builder()
        builder._path = "trunk.0"
        (y,) = built(builder, x)
        part = BlockUse("trunk.0", "example", {}, x, y, builder.graph(x, y).parts)
        self.network: Network = network_of(Graph(x, y, (part,)))
        (found,) = evaluated(built, [Value(x, self.given)], one_hot(Layout(()), {}), held)
        values = {f"trunk.0{path}": value for path, value in held.values.items()}
        self.weights, self.expected = weights_of({"params": values, "batch_stats": values}), np.asarray(found.array)

    def check(self, found: np.ndarray, planes: bool) -> None:
        """`planes`: maps come with their channels first."""
        if planes and self.network.output.side is not None:
            found = found.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found, self.expected, rtol=1e-4, atol=1e-5)


def planes(case: Case) -> np.ndarray:
    """As others have it: a map with its channels first."""
    return np.asarray(case.given).transpose(0, 3, 1, 2) if case.is_map else np.asarray(case.given)


@pytest.mark.parametrize("name", [name for name in ALONE if name.split("@")[0] in ONNX])
def test_onnx(name):
    onnx_export = pytest.importorskip("dnas.export.onnx")
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    case = Case(name)
    model = onnx_export.model(case.network, case.weights)
    session = onnx_export.session(model.SerializeToString())
    case.check(session.run(None, {"images": planes(case)})[0], planes=True)


def module_of(text: str) -> types.ModuleType:
    made = sys.modules["written"] = types.ModuleType("written")
    exec(compile(text, "<written>", "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("name", [name for name in ALONE if name.split("@")[0] in FLAX])
def test_flax(name):
    case = Case(name)
    made = module_of(flax_code.source(case.network, title="One operator.", weights_file="weights.safetensors"))
    variables = unflatten_dict(flax_code.tensors(case.network, case.weights), sep="/")
    case.check(np.asarray(made.Network().apply(variables, jnp.asarray(case.given))), planes=False)


@pytest.mark.parametrize("name", [name for name in ALONE if name.split("@")[0] in TORCH])
def test_torch(name):
    torch = pytest.importorskip("torch", reason="needs dnas[torch]")
    case = Case(name)
    made = module_of(torch_code.source(case.network, title="One operator.", weights_file="weights.safetensors"))
    model = made.network().eval()
    state = torch_code.tensors(case.network, case.weights)
    model.load_state_dict({path: torch.from_numpy(value.copy()) for path, value in state.items()})
    with torch.no_grad():
        case.check(model(torch.from_numpy(planes(case).copy())).numpy(), planes=True)
