"""A network of which entries are masked away that are not the last is the same as the network that is cut out of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost.count import count
from dnas.cost.ledger import COSTS, at
from dnas.errors import UserError
from dnas.export import parity
from dnas.export.trace import trace, weights_of
from dnas.grammar.read import space_from_data
from dnas.graph import Graph, graph_of
from dnas.maths.masks import channel_mask
from dnas.nn.forward import Forward
from dnas.nn.gates import Layout, as_mapping, gumbel_softmax, init_theta, one_hot
from dnas.nn.inherit import inherited
from dnas.nn.lookup import Requests, StackedLookup, requests
from dnas.nn.parameters import Own
from dnas.nn.supernet import Supernet, init
from dnas.ops.tensor import Axis, Value
from dnas.space.entries import given, kept
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Space

STEM, INNER = (0, 3, 4), (1, 2, 5, 6, 11)
SIZES = {"trunk.0.conv": kept(6, STEM), "trunk.1.expand": kept(12, INNER), "trunk.1.project": kept(6, STEM)}
NONE = Layout(())


def network(stem: int = 6, inner: int = 12) -> Space:
    """A stem whose width a residual block has too, squeeze-excite, and a classifier."""
    block = {"out": stem, "hidden": inner, "kernel": 3, "se": True, "se_hidden": 4, "act": "hswish"}
    data = {
        "name": "kept",
        "input": {"channels": 2, "classes": 3, "resolution": 8},
        "trunk": [{"conv": {"out": stem, "kernel": 3, "stride": 2, "act": "relu"}}, {"mbconv": block}],
        "head": [{"conv": {"out": 5, "kernel": 1, "act": "relu"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
    }
    return space_from_data(data, "kept")


def variables_of(space: Space) -> dict[str, dict[str, jax.Array]]:
    rng = np.random.default_rng(0)
    found = init(space, jax.random.key(0))
    shift = {path: jnp.asarray(rng.uniform(0.2, 1.5, v.shape), jnp.float32) for path, v in found["batch_stats"].items()}
    params = {path: v + 0.4 * rng.normal(size=v.shape).astype(np.float32) for path, v in found["params"].items()}
    return {"params": params, "batch_stats": shift}


def scores(graph: Graph, variables, images, momentum=None, masks=None) -> jax.Array:
    lookup = StackedLookup(requests(graph), NONE)(one_hot(NONE, {}), masks)
    own = Own(dict(variables["params"]), dict(variables["batch_stats"]))
    forward = Forward(own, one_hot(NONE, {}), lookup, momentum)
    return forward.run(graph.parts, Value(graph.input, images), graph.output)


def by_onnx(space: Space, variables, images) -> np.ndarray:
    """The scores that the exported network gives."""
    onnx_export = pytest.importorskip("dnas.export.onnx", reason="needs dnas[onnx]")
    session = onnx_export.session(onnx_export.model(trace(space), weights_of(variables)).SerializeToString())
    return session.run(None, {"images": np.asarray(images).transpose(0, 3, 1, 2)})[0]


@pytest.fixture(scope="module")
def case():
    wide, narrow = network(), network(len(STEM), len(INNER))
    variables, images = variables_of(wide), jnp.asarray(np.random.default_rng(1).normal(size=(4, 8, 8, 2)), jnp.float32)
    masked = graph_of(wide).keeping(SIZES)
    return masked, narrow, variables, images, inherited(masked.parts, {}, variables)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_forward_is_that_of_the_network_cut_out(case, momentum):
    masked, narrow, variables, images, cut = case
    expected = Supernet(narrow).apply(cut, images, one_hot(NONE, {}), momentum=momentum, mutable=["batch_stats"])[0][0]
    found = scores(masked, variables, images, momentum)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert float(jnp.std(expected, axis=0).min()) > 0.01, "images are told apart"
    np.testing.assert_allclose(scores(masked.fix({}), cut, images, momentum), expected, rtol=1e-6, atol=1e-6)


def test_costs_and_shapes_are_those_of_the_network_cut_out(case):
    masked, narrow, _, _, cut = case
    for name, cost in COSTS.items():
        assert at(cost(masked.ledger), {}) == at(cost(masked.fix({}).ledger), {}) == count(narrow)[name.lower()]
    wanted = {path: parameter.lengths for path, parameter in graph_of(narrow).parameters.items()}
    assert {path: value.shape for group in cut.values() for path, value in group.items()} == wanted


def test_gradients_are_those_of_the_network_cut_out_and_nothing_elsewhere(case):
    masked, narrow, variables, images, cut = case

    def loss(params, graph, statistics):
        return jnp.sum(scores(graph, {"params": params, "batch_stats": statistics}, images, 0.9) ** 2)

    wide = jax.grad(loss)(variables["params"], masked, variables["batch_stats"])
    expected = jax.grad(loss)(cut["params"], graph_of(narrow), cut["batch_stats"])
    found = inherited(masked.parts, {}, {"params": wide, "batch_stats": variables["batch_stats"]})["params"]
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-3, atol=1e-4, err_msg=path)
        assert float(jnp.abs(wide[path]).sum()) == pytest.approx(float(jnp.abs(found[path]).sum()), rel=1e-4), path


def test_the_network_cut_out_is_exported(case):
    masked, narrow, variables, images, cut = case
    found = by_onnx(narrow, cut, images)
    assert parity.difference(found, scores(masked, variables, images)) < parity.LIMIT


def test_masks_that_are_given_have_gradients_and_serve_any_entries(case):
    """One graph for whatever a mask says; with its entries 0 and 1 it is that of the kept ones."""
    masked, _, variables, images, _ = case
    stem, inner = given("stem", 6), given("inner", 12)
    graph = graph_of(network()).keeping(dict(zip(SIZES, (stem, inner, stem), strict=True)))
    masks = {"stem": np.isin(np.arange(6), STEM) * 1.0, "inner": np.isin(np.arange(12), INNER) * 1.0}
    masks = {name: jnp.asarray(mask, jnp.float32) for name, mask in masks.items()}
    run = jax.jit(lambda masks: scores(graph, variables, images, None, masks))
    np.testing.assert_allclose(run(masks), scores(masked, variables, images), rtol=1e-5, atol=1e-5)
    whole = {name: jnp.ones_like(mask) for name, mask in masks.items()}
    np.testing.assert_allclose(run(whole), scores(graph_of(network()), variables, images), rtol=1e-5, atol=1e-5)

    def total(masks):
        return jnp.sum(run(masks) ** 2)

    slopes = jax.grad(total)(masks)
    step = 1e-2
    for name, entry in (("stem", 1), ("inner", 5)):
        one = jnp.zeros_like(masks[name]).at[entry].set(step)
        up, down = total(masks | {name: masks[name] + one}), total(masks | {name: masks[name] - one})
        assert float(slopes[name][entry]) == pytest.approx(float((up - down) / (2 * step)), rel=2e-2, abs=1e-3)


def test_masks_of_all_axes_at_once_are_the_plain_ones():
    """Of sizes that keep the first entries and others, of one choice and of two."""
    choices = Choice("a", (1, 2)), Choice("b", (2, 3, 4))
    layout, (a, b) = Layout(choices), map(Quantity.of, choices)
    sets = Quantity.combine(lambda n, m: tuple(range(m - n, m)), a, b)
    sizes = [a, b, a * b, kept(4, sets)]
    gates = gumbel_softmax(layout, init_theta(layout), jax.random.key(0), 1.0)
    wanted = Requests()
    for size in sizes:
        wanted.mask(Axis("channels", size))
    lookup = StackedLookup(wanted, layout)(gates)
    for size in sizes:
        found = lookup.mask(Axis("channels", size))
        np.testing.assert_allclose(found, channel_mask(size, gates), rtol=1e-6, atol=1e-7)
        assert float(found.sum()) == pytest.approx(float(size.mean(as_mapping(gates))), rel=1e-6)


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(UserError, match="no operator at 'trunk.7.conv'"):
        graph_of(network()).keeping({"trunk.7.conv": kept(6, STEM)})


def test_behind_an_operator_without_a_width_of_its_own_entries_are_selected():
    """A norm has moments of all that it reads, and only what is kept goes on."""
    graph = graph_of(network()).keeping({"trunk.1.project_norm": kept(6, STEM)})
    assert [n.operator.name for n in graph.nodes if n.path == "trunk.1.project_norm.kept"] == ["select"]
