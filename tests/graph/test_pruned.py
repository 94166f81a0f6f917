"""Architectures of which channels are left out by name: read, counted, run, exported, written again."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost.count import count
from dnas.errors import InputError
from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.nn.gates import Layout, one_hot
from dnas.nn.inherit import inherit, inherited
from dnas.nn.supernet import Supernet
from dnas.space.entries import kept
from dnas.space.space import Space
from tests.graph.test_keeping import by_onnx, scores, variables_of

KEEP = {
    "trunk.2.0.attention_norm": [0, 2, 3, 5, 7],
    "trunk.2.0.value": [0, 1, 2, 4, 9, 11],  # of three heads: three channels, one and two
    "trunk.2.0.mlp_norm": [1, 4, 6],
    "trunk.2.0.expand": [0, 3, 5, 8, 13],
    "trunk.2.1.value": [0, 3, 4, 7, 8, 11],  # heads of one width
    "trunk.2.1.expand": [2, 4],
}
"""The four places where VTP prunes a block (Zhu et al. 2021, section 3.2), and two of the next."""
NONE = one_hot(Layout(()), {})


def network(keep: object = None, relative: int = 0, **more) -> Space:
    block = {"repeat": 2, "heads": 3, "head_width": 4, "hidden": 16, "relative": relative}
    data = {
        "name": "pruned",
        "input": {"channels": 2, "classes": 3, "resolution": 8},
        "trunk": [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": block}],
        "head": [{"token_head": {"out": "$classes"}}],
        **more,
    }
    return space_from_data(data | ({"keep": keep} if keep else {}), "pruned")


@pytest.fixture(scope="module", params=[0, 3])
def case(request):
    """The whole network with masks, the pruned one, weights of both, images."""
    whole, pruned = network(relative=request.param), network(KEEP, request.param)
    lengths = {n.path: n.output["channels"].length for n in graph_of(whole).nodes if "channels" in n.output.names}
    masked = graph_of(whole).keeping({path: kept(lengths[path], entries) for path, entries in KEEP.items()})
    variables = variables_of(whole)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 8, 8, 2)), jnp.float32)
    return masked, pruned, variables, inherited(masked.parts, {}, variables), images


def run(space: Space, variables, images):
    return Supernet(space).apply(variables, images, NONE)[0]


def test_the_pruned_network_is_the_masked_one(case):
    masked, pruned, variables, cut, images = case
    found = run(pruned, cut, images)
    np.testing.assert_allclose(found, scores(masked, variables, images), rtol=1e-5, atol=1e-5)
    assert float(jnp.std(found, axis=0).min()) > 0.01, "images are told apart"
    shapes = {path: parameter.lengths for path, parameter in graph_of(pruned).parameters.items()}
    assert {path: value.shape for path, value in cut["params"].items()} == shapes


def test_what_is_written_is_what_was_read(case):
    """Blocks are written out one by one, under other paths."""
    _, pruned, _, cut, images = case
    written = architecture(pruned, {})
    assert set(written.data["keep"]) == {
        "trunk.2.attention_norm", "trunk.2.value", "trunk.2.mlp_norm", "trunk.2.expand", "trunk.3.value",
        "trunk.3.expand",
    }  # fmt: skip
    again = space_from_data(written.data, "again")
    np.testing.assert_allclose(run(again, inherit(cut, written), images), run(pruned, cut, images), rtol=1e-6)
    assert count(again)["macs"] == count(pruned)["macs"] and count(again)["params"] == count(pruned)["params"]
    assert weights.fingerprint(again) == weights.fingerprint(written.network)
    other = space_from_data(written.data | {"keep": {"trunk.2.expand": [0, 3, 5, 8, 14]}}, "other")
    assert weights.fingerprint(again) != weights.fingerprint(other)


def test_parameters_and_macs_are_those_of_the_closed_form():
    """4 d + 2 (a d + d) + a v + v + v d + d + m H + H + H d + d of each block, and its MACs."""
    whole, pruned, d, tokens = count(network()), count(network(KEEP)), 8, 5

    def of_block(a, v, m, h, q=12):
        params = 4 * d + 2 * (a * q + q) + (a * v + v) + (v * d + d) + (m * h + h) + (h * d + d)
        macs = tokens * (2 * a * q + a * v + v * d + m * h + h * d) + tokens**2 * (q + v)
        return np.array([params, macs])

    lost = of_block(8, 12, 8, 16) * 2 - of_block(5, 6, 3, 5) - of_block(8, 6, 8, 2)
    assert [whole["params"] - pruned["params"], whole["macs"] - pruned["macs"]] == lost.tolist()


def test_a_convolutional_network_keeps_channels_of_its_hidden_layers():
    space = load_space("fbnetv2_f1")
    path = "trunk.3.expand"
    length = next(n.output["channels"].length for n in graph_of(space).nodes if n.path == path)
    pruned = space_from_data(space.document.data | {"keep": {path: list(range(0, length, 2))}}, "pruned")
    assert count(pruned)["params"] < count(space)["params"]
    assert graph_of(at_input(pruned, side=64)).parameters[f"{path}.weight"].lengths[-1] == -(-length // 2)


def test_the_pruned_network_is_exported(case):
    _, pruned, _, cut, images = case
    assert parity.difference(by_onnx(pruned, cut, images), run(pruned, cut, images)) < parity.LIMIT


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ({"trunk.9.expand": [0]}, "no operator with channels has this path"),
        ({"trunk.2.0.expant": [0]}, "did you mean 'trunk.2.0.expand'?"),
        ({"trunk.2.0.expand": [16]}, "no such channel"),
        ({"trunk.2.0.expand": [3, 1]}, "not channels"),
        ({"trunk.2.0.expand": []}, "not channels"),
        ({"trunk.2.0.expand": [1.5]}, "not channels"),
        ({"trunk.2.0.query": [0, 1]}, "queries and keys"),
        ({"trunk.2.0.project": [0, 1]}, "'trunk.2.0.mlp_add' has nothing to do"),
        ([1], "keep"),
    ],
)
def test_what_cannot_be_kept_is_refused(keep, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        graph_of(network(keep))


def test_a_space_with_choices_is_not_pruned():
    block = {"heads": 3, "head_width": 4, "hidden": {"choices": [8, 16]}}
    trunk = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": block}]
    with pytest.raises(InputError, match="cannot be pruned before a search"):
        network({"trunk.2.expand": [0, 1]}, trunk=trunk)
