"""What every operator must do, whatever it is: with one-hot gates equal the sliced operator, in every form and for any
entries that are kept; have finite gradients; cost what a count by hand says. An operator that is registered is tested
once `EXAMPLES` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost.ledger import at, macs, params
from dnas.graph import Builder, Graph
from dnas.nn.forms import Forms
from dnas.nn.gates import Gates, Layout, one_hot
from dnas.nn.inherit import inherited
from dnas.nn.wing import wing
from dnas.ops import (
    OPERATORS,
    Activation,
    Attend,
    AttentionScores,
    AveragePool,
    BatchNorm,
    ChannelShuffle,
    Circulant,
    ClassToken,
    Conv,
    Depthwise,
    DistanceBias,
    Excite,
    FirstToken,
    GlobalPool,
    JoinTokens,
    LayerNorm,
    LayerScale,
    LeadingZeros,
    LearnedScores,
    Linear,
    Mask,
    MixHeads,
    Mixture,
    Operator,
    Pointwise,
    Positions,
    RelativeScores,
    RelativeValues,
    Residual,
    Select,
    Softmax,
    SpaceToDepth,
    Tensor,
    TokenMean,
    Upsample,
    WeightedSum,
    WindowBias,
    WindowMerge,
    WindowPartition,
    WordEmbed,
)
from dnas.ops.tensor import CHANNELS, HEADS, KEYS, PATCHES, QUERIES, TOKENS, WINDOWS, Axis, Value, square
from dnas.process.precision import Precision
from dnas.space.entries import Kept, cut, kept
from dnas.space.quantity import Choice, Quantity
from tests.nn.graphs import Held, evaluated

WIDTHS, WIDE, SIDE = (2, 4), 4, 3


def fixed(value: int) -> Quantity:
    return Quantity.constant(value)


def on_map(width: Quantity, side: int = SIDE) -> Tensor:
    return square(fixed(side), width, pending=True)


def times(heads: Quantity, width: int) -> Quantity:
    """Channels of so many heads, which lie together."""
    if not isinstance(heads, Kept):
        return heads * width
    sets = Quantity.combine(lambda kept: tuple(h * width + i for h in kept for i in range(width)), heads.sets)
    return kept(heads.full * width, sets)


def tokens(width: Quantity, count: int = 5) -> Tensor:
    """A class token and the pixels of a map of side 2."""
    return Tensor((Axis(TOKENS, fixed(count)), Axis(CHANNELS, width, pending=True)))


def dropped(x: Tensor, name: str, entries: tuple[int, ...]) -> Tensor:
    """The same with so many entries of an axis left."""
    return x.like(**{name: cut(x[name].length, entries)})


def patches(width: Quantity) -> Tensor:
    return Tensor((Axis(PATCHES, fixed(3)), *tokens(width).axes))


THREE, FOUR = Axis(WINDOWS, fixed(3)), Axis(WINDOWS, fixed(4))


def windows(width: Quantity) -> Tensor:
    return Tensor((THREE, *tokens(width).axes))


def scores_of(heads: Quantity, count: int, *around: Axis) -> Tensor:
    return Tensor((*around, Axis(HEADS, heads, pending=True), Axis(QUERIES, fixed(count)), Axis(KEYS, fixed(count))))


def scores(heads: Quantity) -> Tensor:
    pixels = fixed(SIDE**2)
    return Tensor((Axis(HEADS, heads, pending=True), Axis(QUERIES, pixels), Axis(KEYS, pixels)))


class Example(NamedTuple):
    """An operator whose width is `width`, on inputs of that width; its MACs and parameters at the width 4 by hand."""

    make: Callable[[Quantity], Operator]
    inputs: Callable[[Quantity], list[Tensor]] = lambda width: [on_map(width)]
    macs: int = 0
    params: int = 0


PIXELS = SIDE**2
EXAMPLES = {
    "activation": Example(lambda w: Activation(Quantity.constant("hswish"))),
    "attend": Example(
        lambda w: Attend(fixed(SIDE), fixed(SIDE)), lambda w: [scores(w), on_map(times(w, 2))], 2 * WIDE * PIXELS**2
    ),
    "attention_scores": Example(
        AttentionScores, lambda w: [on_map(times(w, 3)), on_map(times(w, 3))], 3 * WIDE * PIXELS**2
    ),
    "attend@windows": Example(
        lambda w: Attend(), lambda w: [scores_of(w, 5, THREE), windows(times(w, 2))], 3 * 2 * WIDE * 25
    ),
    "attention_scores@windows": Example(
        AttentionScores, lambda w: [windows(times(w, 3)), windows(times(w, 3))], 3 * 3 * WIDE * 25
    ),
    "average_pool": Example(lambda w: AveragePool(fixed(3))),
    "batch_norm": Example(lambda w: BatchNorm(switchable=True), params=2 * WIDE),
    "channel_shuffle": Example(lambda w: ChannelShuffle(2), lambda w: [on_map(fixed(WIDE))]),
    "circulant": Example(
        lambda w: Circulant(2), lambda w: [tokens(fixed(WIDE))], WIDE * WIDE * 5, 2 * WIDE + WIDE
    ),
    "class_token": Example(lambda w: ClassToken(), params=WIDE),
    "class_token@two": Example(lambda w: ClassToken(2), lambda w: [tokens(w)], params=2 * WIDE),
    "conv": Example(
        lambda w: Conv(w, fixed(3), stride=2, bias=True), macs=9 * WIDE * WIDE * 2 * 2, params=9 * WIDE * WIDE + WIDE
    ),
    "depthwise": Example(lambda w: Depthwise(fixed(3), bias=True), macs=9 * WIDE * PIXELS, params=9 * WIDE + WIDE),
    "distance_bias": Example(
        lambda w: DistanceBias(fixed(SIDE), fixed(SIDE)), lambda w: [scores(w)], params=WIDE * SIDE * SIDE
    ),
    "excite": Example(lambda w: Excite(fixed(1)), lambda w: [on_map(w), on_map(w, 1)]),
    "first_token": Example(lambda w: FirstToken(), lambda w: [tokens(w)]),
    "first_token@second": Example(lambda w: FirstToken(1), lambda w: [tokens(w)]),
    "global_pool": Example(lambda w: GlobalPool()),
    "layer_norm": Example(lambda w: LayerNorm(), params=2 * WIDE),
    "layer_scale": Example(lambda w: LayerScale(0.1), params=WIDE),
    "join_tokens": Example(lambda w: JoinTokens(), lambda w: [patches(w)]),
    "leading_zeros": Example(lambda w: LeadingZeros(), lambda w: [tokens(w)]),
    "learned_scores": Example(
        lambda w: LearnedScores(w, 2), lambda w: [on_map(fixed(WIDE))], params=WIDE * PIXELS * 4
    ),
    "linear": Example(Linear, macs=WIDE * WIDE * PIXELS, params=WIDE * WIDE + WIDE),
    "mask": Example(lambda w: Mask()),
    "mix_heads": Example(
        lambda w: MixHeads(), lambda w: [scores(w)], WIDE * WIDE * PIXELS**2, WIDE * WIDE + WIDE
    ),
    "mixture": Example(lambda w: Mixture((fixed(1), fixed(0))), lambda w: [on_map(w), on_map(w)]),
    "pointwise": Example(Pointwise, lambda w: [on_map(w, 1)], WIDE * WIDE, WIDE * WIDE + WIDE),
    "positions": Example(lambda w: Positions(), lambda w: [tokens(w)], params=5 * WIDE),
    "positions@inner": Example(lambda w: Positions(inner=True), lambda w: [patches(w)], params=5 * WIDE),
    "positions@map": Example(lambda w: Positions(), params=PIXELS * WIDE),
    "relative_scores": Example(
        lambda w: RelativeScores(w, 2, 3, reach=1), lambda w: [tokens(times(w, 3))], 3 * WIDE * 25, 2 * 4 * 3
    ),
    "relative_scores@dropped": Example(
        lambda w: RelativeScores(w, 2, 3, reach=1, keys=cut(5, (0, 2, 3, 4))),
        lambda w: [dropped(tokens(times(w, 3)), TOKENS, (0, 3))], 3 * WIDE * 8, 2 * 4 * 3,
    ),
    "relative_values@dropped": Example(
        lambda w: RelativeValues(times(w, 3), 2, 3, reach=1),
        lambda w: [dropped(dropped(scores_of(w, 5), KEYS, (0, 2, 3, 4)), QUERIES, (0, 3))], 3 * WIDE * 8, 2 * 4 * 3,
    ),
    "relative_values": Example(
        lambda w: RelativeValues(times(w, 3), 2, 3, reach=1), lambda w: [scores_of(w, 5)], 3 * WIDE * 25, 2 * 4 * 3
    ),
    "residual": Example(lambda w: Residual(), lambda w: [on_map(w), on_map(w)]),
    "select": Example(Select, lambda w: [tokens(fixed(WIDE))]),
    "select@map": Example(lambda w: Select(cut(WIDE, (0, 3))), lambda w: [on_map(fixed(WIDE))]),
    "select@patches": Example(lambda w: Select(cut(3, (0, 2)), PATCHES), lambda w: [patches(w)]),
    "select@tokens": Example(lambda w: Select(cut(5, (0, 2, 3)), TOKENS), lambda w: [tokens(w)]),
    "softmax": Example(lambda w: Softmax(), lambda w: [scores(w)]),
    "token_mean": Example(lambda w: TokenMean(1), lambda w: [tokens(w)]),
    "upsample": Example(lambda w: Upsample(2)),
    "weighted_sum": Example(lambda w: WeightedSum((1, -0.5)), lambda w: [on_map(w), on_map(w)]),
    "space_to_depth": Example(lambda w: SpaceToDepth(), lambda w: [on_map(w, 4)]),
    "space_to_depth@odd": Example(lambda w: SpaceToDepth()),
    "window_bias": Example(lambda w: WindowBias(2, 4), lambda w: [scores_of(w, 4, FOUR)], params=9 * WIDE),
    "window_bias@shifted": Example(lambda w: WindowBias(2, 4, 1), lambda w: [scores_of(w, 4, FOUR)], params=9 * WIDE),
    "window_merge": Example(lambda w: WindowMerge(4, 1), lambda w: [Tensor((FOUR, *tokens(w, 4).axes))]),
    "window_merge@odd": Example(lambda w: WindowMerge(3), lambda w: [Tensor((FOUR, *tokens(w, 4).axes))]),
    "window_partition": Example(lambda w: WindowPartition(2), lambda w: [on_map(w, 4)]),
    "window_partition@shifted": Example(lambda w: WindowPartition(3, 1), lambda w: [on_map(w, 4)]),
    "word_embed": Example(
        lambda w: WordEmbed(w, 2, 3, 1, 1), lambda w: [on_map(w, 4)], 16 * 9 * WIDE * WIDE, 9 * WIDE * WIDE + WIDE
    ),
}  # fmt: skip
CHOICE = Choice("w", WIDTHS)
LAYOUT = Layout((CHOICE,))
SETS = np.array([None, None])
SETS[:] = (1, 3), (0, 1, 2, 3)
SOURCES = {"first": Quantity.of(CHOICE), "any": kept(WIDE, Quantity((CHOICE,), SETS))}
"""Sizes that keep the first entries, and others."""
FORMS = ("own", "wing")


def forms_of(kind: str) -> Forms | None:
    """Skips where this process has no wing."""
    if kind == "own":
        return None
    return wing().forms or pytest.skip("this process has no forms for CPUs")


def arrays(name: str) -> list[jnp.ndarray]:
    rng = np.random.default_rng(0)
    sizes = ([axis.length for axis in x.axes] for x in EXAMPLES[name].inputs(fixed(WIDE)))
    return [jnp.asarray(rng.normal(size=(2, *size)), jnp.float32) for size in sizes]


def graph_of(name: str, width: Quantity) -> Graph:
    """The operator alone."""
    builder, x = Builder(), EXAMPLES[name].inputs(width)
    return builder.graph(x[0], builder.add("op", EXAMPLES[name].make(width), *x))


def run(
    name: str, width: Quantity, given: list[Any], gates: Any, held: Any, forms: Forms | None = None,
    precision: Precision = "float32",
) -> Value:  # fmt: skip
    """The operator's result, masked, in training mode."""
    example = EXAMPLES[name]

    def built(net: Builder, *x: Tensor) -> tuple[Tensor]:
        return (net.masked(net.add("op", example.make(width), *x)),)

    tensors: list[Tensor] = []

    def compiled(given: list[Any]) -> Any:
        values = [Value(tensor, array) for tensor, array in zip(example.inputs(width), given, strict=True)]
        y = evaluated(built, values, gates, held, 0.9, forms, precision=precision)[0]
        tensors.append(y.tensor)
        return y.array

    array = jax.jit(compiled)(given)
    return Value(tensors[0], array)


def test_every_operator_has_an_example():
    assert {name.split("@")[0] for name in EXAMPLES} == set(OPERATORS)
    for name, operator in OPERATORS.items():
        assert operator.name == name and operator.about


def entries(array: Any, tensor: Tensor, option: int) -> Any:
    """Those that an option keeps, of every axis."""
    for n, axis in enumerate(tensor.axes):
        array = array[(slice(None),) * (n + 1) + (axis.size.entries_at({"w": option}),)]
    return array


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", range(len(WIDTHS)))
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_one_hot_gates_give_the_sliced_operator(name, source, option, form):
    forms, given, wide, width = forms_of(form), arrays(name), Held(), SOURCES[source]
    found = run(name, width, given, one_hot(LAYOUT, {"w": option}), wide, forms)
    assert found.array.dtype == given[0].dtype
    cut = inherited(graph_of(name, width).parts, {"w": option}, {"params": wide.values, "batch_stats": wide.values})
    small = [entries(array, x, option) for array, x in zip(given, EXAMPLES[name].inputs(width), strict=True)]
    sliced = Held(cut["params"] | cut["batch_stats"])
    expected = run(name, width.fix({"w": option}), small, one_hot(Layout(()), {}), sliced)
    inside = entries(found.array, found.tensor, option)
    np.testing.assert_allclose(inside, expected.array, rtol=1e-4, atol=1e-5)
    if not found.tensor.pending:
        assert float(jnp.abs(found.array).sum()) == pytest.approx(float(jnp.abs(inside).sum()), rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_gradients_are_finite_and_those_of_the_own_form(name, form):
    forms, width, given, gates = forms_of(form), Quantity.of(CHOICE), arrays(name), one_hot(LAYOUT, {"w": 0})
    held = Held()
    run(name, width, given, gates, held)

    def total(given: Any, weights: dict[str, Any], forms: Forms | None) -> Any:
        own = Held(weights)
        y = run(name, width, given, gates, own, forms).array
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    found, expected = (
        jax.jit(jax.grad(lambda given, weights, own=own: total(given, weights, own), (0, 1)))(given, held.values)
        for own in (forms, None)
    )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.all(np.isfinite(ours))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_in_bfloat16_results_and_gradients_are_near_those_in_float32(name):
    """Results are of the kind asked for; gradients are float32, as parameters and gates are."""
    width, given, held = Quantity.of(CHOICE), arrays(name), Held()
    jax.eval_shape(lambda: run(name, width, given, one_hot(LAYOUT, {"w": 1}), held).array)

    def total(given: Any, weights: dict[str, Any], gates: Any, precision: Precision) -> Any:
        y = run(name, width, given, Gates(gates, LAYOUT), Held(weights), precision=precision).array
        assert y.dtype == precision
        y = y.astype(jnp.float32)
        return jnp.mean(jnp.square(y + jnp.cos(jnp.arange(y.size)).reshape(y.shape))), y

    def both(*arguments: Any) -> list[Any]:
        slopes = jax.grad(total, (0, 1, 2), has_aux=True)
        return [slopes(*arguments, precision) for precision in ("bfloat16", "float32")]

    found, expected = (jax.tree.leaves(p) for p in jax.jit(both)(given, held.values, jnp.asarray([[0.25, 0.75]])))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == jnp.float32
        near(ours, theirs)


def near(found: Any, expected: Any) -> None:
    """Within a few roundings to bfloat16's eight bits, of the largest number there is."""
    np.testing.assert_allclose(found, expected, atol=0.06 * float(jnp.abs(expected).max()) + 1e-6)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_costs_are_counted_by_hand(name):
    example, ledger = EXAMPLES[name], graph_of(name, SOURCES["first"]).ledger
    assert at(macs(ledger), {"w": 1}) == example.macs
    assert at(params(ledger), {"w": 1}) == example.params
    smaller = at(macs(ledger), {"w": 0})
    assert smaller < example.macs or not any(record.macs.over for record in ledger)
    others = graph_of(name, SOURCES["any"]).ledger
    for option in range(len(WIDTHS)):
        for cost in (macs, params):
            assert at(cost(others), {"w": option}) == at(cost(ledger), {"w": option})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_product_can_be_replaced(name, form):
    """What multiplies, and nothing else, goes through the one place for products; the result is linear in each."""
    forms, example, held, seen = forms_of(form), EXAMPLES[name], Held(), []
    width = fixed(WIDE)
    values = [Value(x, array) for x, array in zip(example.inputs(width), arrays(name), strict=True)]

    def built(net: Builder, *x: Tensor) -> tuple[Tensor]:
        return (net.add("op", example.make(width), *x),)

    def doubled(path: str, product: Any, x: Any, w: Any) -> Any:
        seen.append(path)
        return 2 * product(x, w)

    gates = one_hot(Layout(()), {})
    evaluated(built, values, gates, held, 0.9, forms)
    held.values = {path: value * (not path.endswith("bias")) for path, value in held.values.items()}
    plain = evaluated(built, values, gates, held, 0.9, forms)[0].array
    found = evaluated(built, values, gates, held, 0.9, forms, doubled)[0].array
    assert seen == [".op"] * bool(example.macs)
    np.testing.assert_allclose(found, 2 * plain if example.macs else plain, rtol=1e-5, atol=1e-5)


def test_exporters_write_operators_that_exist():
    from dnas.export import flax_code, onnx_writers, torch_code

    for writers in (flax_code.WRITERS, torch_code.WRITERS, onnx_writers.WRITERS):
        assert set(writers) <= set(OPERATORS)
