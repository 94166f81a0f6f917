"""Networks of which blocks hand fewer tokens on: the masked one, what is counted, written, exported and refused."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.cost.count import count
from dnas.errors import InputError
from dnas.export import parity
from dnas.grammar.read import at_input, space_from_data
from dnas.graph import Builder, Graph, graph_of
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.maths.axes import taken
from dnas.nn.inherit import inherit
from dnas.ops.tensor import square
from dnas.space.quantity import Quantity
from dnas.space.space import Space

from .test_keeping import by_onnx, scores, variables_of
from .test_pruned import run

SHORTCUTS = {"shortcuts": 1, "shortcut_blocks": 2}
KEPT = {"trunk.2.0": [0, 1, 3, 4, 7, 9], "trunk.2.1": [0, 3, 4, 9], "trunk.3": [0, 4]}
STREAM = {"heads": 2, "head_width": 4, "inner_heads": 1, "inner_head_width": 2}
STREAMS = [
    {"tnt_embed": {"out": 8, "inner": 4, "patch": 4, "kernel": 3, "stride": 2, "padding": 1}},
    {"tnt": STREAM},
    {"tnt": {**STREAM, "repeat": 2, **SHORTCUTS}},
    {"tnt": STREAM},
    {"tnt_out": {}},
]


def network(kept: object = None, relative: int = 0, pool: str = "token", count: int = 1, **more) -> Space:
    block = {"heads": 2, "head_width": 4, "relative": relative}
    trunk = [
        {"patch_embed": {"out": 8, "kernel": 4}},
        {"tokens": {"count": count}},
        {"transformer": block | {"repeat": 2}},
    ]
    data = {
        "name": "slimmed",
        "input": {"channels": 2, "classes": 3, "resolution": 12},
        "trunk": [*trunk, {"transformer": {"heads": 3, "head_width": 4, **SHORTCUTS}}],
        "head": [{"token_head": {"out": "$classes", "pool": pool}}],
        **more,
    }
    return space_from_data(data | ({"keep_tokens": kept} if kept is not None else {}), "slimmed")


CASES = {
    "plain": lambda kept=None: network(kept),
    "relative": lambda kept=None: network(kept, 2),
    "mean": lambda kept=None: network(kept, 0, "mean"),
    "relative mean": lambda kept=None: network(kept, 2, "mean"),
    "streams": lambda kept=None: network(kept, trunk=STREAMS),
}


def masked(space: Space, kept: dict[str, list[int]]) -> tuple[Graph, dict[str, jax.Array]]:
    """The network on all tokens, of which a mask says which are there, and those masks."""
    builder, x = Builder(dict.fromkeys(kept)), square(space.resolution, Quantity.constant(space.channels))
    masks = {path: jnp.asarray(np.isin(np.arange(10), entries), jnp.float32) for path, entries in kept.items()}
    return builder.graph(x, builder.walk(space.nodes, x)), masks


QUICK = ("plain", "relative mean")


@pytest.fixture(scope="module", params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def case(request):
    """The whole network, the slimmed one, weights of both, images."""
    made = CASES[request.param]
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 12, 12, 2)), jnp.float32)
    return made(), made(KEPT), variables_of(made()), images


def test_the_slimmed_network_is_the_masked_one(case):
    whole, slimmed, variables, images = case
    graph, masks = masked(whole, KEPT)
    found = run(slimmed, variables, images)
    np.testing.assert_allclose(scores(graph, variables, images, masks=masks), found, rtol=1e-5, atol=1e-5)
    assert float(jnp.std(found, axis=0).min()) > 0.01, "images are told apart"
    assert float(jnp.abs(found - run(whole, variables, images)).max()) > 0.01, "what was dropped is missing"


def test_gradients_are_those_of_the_masked_network(case):
    whole, slimmed, variables, images = case
    graph, masks = masked(whole, KEPT)

    def slope(graph, masks=None):
        def loss(params):
            return jnp.sum(scores(graph, {"params": params, "batch_stats": {}}, images, None, masks) ** 2)

        return jax.grad(loss)(variables["params"])

    expected, found = slope(graph, masks), slope(graph_of(slimmed))
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-3, atol=1e-4, err_msg=path)


def test_all_tokens_kept_is_the_network_bit_for_bit(case):
    whole, slimmed, variables, images = case
    everything = {path: list(range(10)) for path in KEPT}
    same = space_from_data(slimmed.document.data | {"keep_tokens": everything}, "same")
    assert [n.path for n in graph_of(same).nodes] == [n.path for n in graph_of(whole).nodes]
    np.testing.assert_array_equal(run(same, variables, images), run(whole, variables, images))
    graph, masks = masked(whole, everything)
    np.testing.assert_array_equal(
        scores(graph, variables, images, masks=masks), scores(graph_of(whole), variables, images)
    )


def test_parameters_are_those_of_the_whole_network(case):
    whole, slimmed, _, _ = case
    lengths = [{path: p.lengths for path, p in graph_of(space).parameters.items()} for space in (whole, slimmed)]
    assert lengths[0] == lengths[1]
    assert count(slimmed)["params"] == count(whole)["params"] and count(slimmed)["macs"] < count(whole)["macs"]


def test_what_is_written_is_what_was_read(case):
    """Blocks are written out one by one, under other paths."""
    whole, slimmed, variables, images = case
    written = architecture(slimmed, {})
    assert list(written.data["keep_tokens"].values()) == list(KEPT.values())
    assert set(written.data["keep_tokens"]) == {"trunk.2", "trunk.3", "trunk.4"}
    again = space_from_data(written.data, "again")
    np.testing.assert_allclose(
        run(again, inherit(variables, written), images), run(slimmed, variables, images), rtol=1e-6
    )
    assert count(again)["macs"] == count(slimmed)["macs"]
    prints = [weights.fingerprint(space) for space in (again, written.network, architecture(whole, {}).network)]
    assert prints[0] == prints[1] != prints[2]


def test_the_slimmed_network_is_exported(case):
    _, slimmed, variables, images = case
    found = by_onnx(slimmed, variables, images)
    assert parity.difference(found, run(slimmed, variables, images)) < parity.LIMIT


def test_onnx_gathers_tokens_and_runs_on_fewer():
    onnx = pytest.importorskip("onnx", reason="needs dnas[onnx]")
    from dnas.export import onnx as onnx_export
    from dnas.export.trace import trace, weights_of

    space = network(KEPT)
    model = onnx_export.model(trace(space), weights_of(variables_of(space)))
    shapes = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in shapes}
    gathered = [shapes[node.output[0]][1] for node in model.graph.node if node.op_type == "Gather"]
    assert gathered[:6] == [6, 6, 4, 4, 2, 2]
    expands = [shapes[node.output[0]][1:] for node in model.graph.node if "expand_product" in node.output[0]]
    assert expands == [[6, 32], [4, 32], [2, 32]]


def test_macs_are_those_of_the_closed_form():
    """2 p d^2 for keys and values, 2 k d^2 for queries and projection, 2 k p d for attention, 8 k d^2 for the MLP."""
    block, d = {"heads": 2, "head_width": 4, "repeat": 3}, 8
    trunk = [{"patch_embed": {"out": d, "kernel": 4}}, {"tokens": {}}, {"transformer": block}]
    kept = {f"trunk.2.{n}": entries for n, entries in enumerate(KEPT.values())}
    tokens = [10, *map(len, kept.values())]
    blocks = sum(2 * p * d**2 + 10 * k * d**2 + 2 * k * p * d for p, k in pairwise(tokens))
    stem, head = 9 * 16 * 2 * d, 3 * d
    assert count(network(kept, trunk=trunk))["macs"] == stem + blocks + head


def test_pruned_channels_and_slimmed_tokens_go_together():
    keep = {"trunk.2.0.expand": [0, 2, 5], "trunk.3.value": [0, 1, 4, 5, 8, 9], "trunk.2.1.attention_norm": [0, 3, 4]}
    block = {"heads": 3, "head_width": 4, "relative": 2}
    trunk = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": block | {"repeat": 2}}]
    trunk.append({"transformer": block})
    both = network(KEPT, trunk=trunk, keep=keep)
    found, alone = count(both), count(network(KEPT, trunk=trunk))
    assert found["macs"] < alone["macs"] and found["params"] < alone["params"]
    written = architecture(both, {})
    assert set(written.data) >= {"keep", "keep_tokens"} and count(written.network)["macs"] == found["macs"]
    variables = variables_of(both)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 12, 12, 2)), jnp.float32)
    assert parity.difference(by_onnx(both, variables, images), run(both, variables, images)) < parity.LIMIT


def test_both_tokens_of_a_distilled_network_stay():
    assert count(network({"trunk.3": [0, 1]}, count=2))["macs"] < count(network(count=2))["macs"]
    with pytest.raises(InputError, match="token 1 is missing, which is learned and always stays"):
        graph_of(network({"trunk.3": [0, 2]}, count=2))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"trunk.9": [0]}, "no block that works on tokens has this path"),
        ({"trunk.2": [0]}, "did you mean 'trunk.2.1'?"),
        ({"trunk.1": [0]}, "no block that works on tokens has this path"),
        ({"trunk.2.0.query": [0]}, "no block that works on tokens has this path"),
        ({"trunk.2.0": [0, 10]}, "no token 10 to keep; they are 0 to 9"),
        ({"trunk.2.0": [1, 2]}, "token 0 is missing, which is learned and always stays"),
        ({"trunk.2.0": [0, 4], "trunk.3": [0, 5]}, "entry 5 of the tokens was dropped before"),
        ({"trunk.2.0": [0, 3, 1]}, "not tokens that a block keeps"),
        ({"trunk.2.0": [0, 0]}, "not tokens that a block keeps"),
        ({"trunk.2.0": []}, "not tokens that a block keeps"),
        ({"trunk.2.0": [0, True]}, "not tokens that a block keeps"),
        ({"trunk.2.0": 3}, "not tokens that a block keeps"),
        ([1], "keep_tokens"),
    ],
)
def test_what_cannot_be_kept_is_refused(kept, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as caught:
        graph_of(network(kept))
    assert "\n" not in str(caught.value)


def test_a_mean_needs_tokens():
    with pytest.raises(InputError, match="no token is left to take the mean of after the first 1"):
        graph_of(network({"trunk.3": [0]}, pool="mean"))


def test_a_space_with_choices_is_not_slimmed():
    trunk = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}, {"transformer": {"heads": {"choices": [1, 2]}}}]
    with pytest.raises(InputError, match="cannot be pruned before a search"):
        network({"trunk.2": [0, 1]}, trunk=trunk)


def test_images_of_another_size_have_other_tokens():
    assert at_input(network(KEPT), side=12, classes=5).classes == 5
    with pytest.raises(InputError, match="tokens of images of side 12 are kept, not of side 16"):
        at_input(network(KEPT), side=16)


@pytest.mark.parametrize(("axis", "entries"), [(1, (0, 2, 4)), (2, (2, 0)), (1, ())])
def test_entries_are_taken_along_any_axis_with_the_gradient_of_an_index(axis, entries):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)
    index = (slice(None),) * axis + (np.array(entries, int),)
    np.testing.assert_array_equal(taken(x, entries, axis), x[index])
    found = jax.grad(lambda x: jnp.sum(taken(x, entries, axis) ** 2))(x)
    np.testing.assert_array_equal(found, jax.grad(lambda x: jnp.sum(x[index] ** 2))(x))


PATHS = st.sampled_from(["trunk.2.0", "trunk.2.1", "trunk.3", "trunk.2", "trunk.1", "head.0", ""])
ENTRIES = st.lists(st.integers(0, 9), unique=True).map(lambda more: sorted({0, *more}))
ANYTHING = st.lists(st.integers(-2, 12) | st.floats() | st.none() | st.booleans(), max_size=5) | st.text(max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(PATHS, ENTRIES | ANYTHING, max_size=3))
def test_whatever_is_kept_is_read_or_refused_in_one_line(kept):
    try:
        space = network(kept)
        found = graph_of(space)
    except InputError as error:
        assert "\n" not in str(error)
        return
    tokens = [found.uses[2].main["tokens"].length, *(use.main["tokens"].length for use in found.uses[3:5])]
    assert tokens == sorted(tokens, reverse=True) and found.parameters.keys() == graph_of(network()).parameters.keys()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(1, 9)), min_size=3, max_size=3))
def test_macs_of_any_nested_tokens_are_those_of_the_closed_form(dropped):
    d, block = 8, {"heads": 2, "head_width": 4, "repeat": 3}
    trunk = [{"patch_embed": {"out": d, "kernel": 4}}, {"tokens": {}}, {"transformer": block}]
    left, kept = set(range(10)), {}
    for n, gone in enumerate(dropped):
        left = left - gone
        kept[f"trunk.2.{n}"] = sorted(left)
    tokens = [10, *map(len, kept.values())]
    blocks = sum(2 * p * d**2 + 10 * k * d**2 + 2 * k * p * d for p, k in pairwise(tokens))
    assert count(network(kept, trunk=trunk))["macs"] == 9 * 16 * 2 * d + blocks + 3 * d
