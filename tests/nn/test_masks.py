"""Channel masks: their values, and folding them into the next weights or into a norm's scale and shift."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.blocks.mobile import squeeze_excite
from dnas.graph import Builder
from dnas.nn.gates import Gates, Layout, one_hot
from dnas.nn.lookup import Requests, StackedLookup
from dnas.ops import (
    Attend,
    AttentionScores,
    BatchNorm,
    Conv,
    DistanceBias,
    GlobalPool,
    LayerNorm,
    Linear,
    MixHeads,
    Residual,
    Softmax,
    Tensor,
)
from dnas.ops.norm import OF_WIDTH
from dnas.ops.tensor import Axis, Value, square
from dnas.space.quantity import Choice, Quantity
from tests.nn.graphs import Held, Sliced, evaluated

WIDTH = Choice("w", (1, 2, 4))
SECOND = Choice("v", (3, 5))
LAYOUT = Layout((WIDTH, SECOND))
GATES = Gates(jnp.asarray([[0.2, 0.3, 0.5], [0.25, 0.75, 0]]), LAYOUT)


def run(function, *inputs, momentum=None, gates=GATES, parameters=None):
    """`function(builder, *tensors)`, a tuple of tensors, evaluated: their arrays."""
    return [y.array for y in evaluated(function, inputs, gates, parameters or Held(), momentum)]


def feature(width: Quantity, side: int = 3, seed: int = 1) -> Value:
    value = np.random.default_rng(seed).normal(size=(2, side, side, width.max()))
    return Value(square(Quantity.constant(side), width, pending=True), jnp.asarray(value, jnp.float32))


def axis(size: Quantity) -> Axis:
    return Axis("channels", size)


def test_values():
    requests, width = Requests(), axis(Quantity.of(WIDTH))
    product = axis(width.size * Quantity.of(SECOND))
    requests.mask(width)
    requests.mask(product)
    plan = StackedLookup(requests, LAYOUT)(GATES)
    np.testing.assert_allclose(plan.mask(width), [1, 0.8, 0.5, 0.5], rtol=1e-6)
    # Widths 3, 5, 6, 10, 12, 20 with the products of the gates.
    p = {3: 0.05, 5: 0.15, 6: 0.075, 10: 0.225, 12: 0.125, 20: 0.375}
    expected = [sum(q for w, q in p.items() if w > c) for c in range(20)]
    np.testing.assert_allclose(plan.mask(product), expected, rtol=1e-6)


def test_effective_width():
    """0.8 * 16 + 0.2 * 12 = 15.2, and the mask's entries add up to it."""
    choice = Choice("c", (12, 16))
    layout, width, requests = Layout((choice,)), Quantity.of(choice), Requests()
    gates = Gates(jnp.asarray([[0.2, 0.8]]), layout)
    requests.mask(axis(width))
    requests.mean(width)
    plan = StackedLookup(requests, layout)(gates)
    assert float(plan.mean(width)) == pytest.approx(15.2)
    assert float(plan.mask(axis(width)).sum()) == pytest.approx(15.2)
    assert width.mean({"c": np.array([0.2, 0.8])}) == pytest.approx(15.2)


@pytest.mark.parametrize("kernel", [1, 3])
def test_folded_into_the_next_weights(kernel):
    def both(net: Builder, x: Tensor):
        conv = Conv(Quantity.constant(5), Quantity.constant(kernel))
        return net.add("c", conv, x), net.add("c", conv, net.masked(x))

    folded, explicit = run(both, feature(Quantity.of(WIDTH)))
    np.testing.assert_allclose(folded, explicit, rtol=1e-5, atol=1e-6)


def test_folded_into_a_linear_layer_and_squeeze_excite():
    def both(net: Builder, x: Tensor):
        hidden, relu, on = Quantity.of(SECOND), Quantity.constant("relu"), Quantity.constant(1)
        se = [squeeze_excite(net, "se", v, hidden, relu, on) for v in (x, net.masked(x))]
        vector, linear = net.add("pool", GlobalPool(), x), Linear(Quantity.constant(5))
        return net.masked(se[0]), se[1], net.add("l", linear, vector), net.add("l", linear, net.masked(vector))

    se, se_explicit, linear, linear_explicit = run(both, feature(Quantity.of(WIDTH)))
    np.testing.assert_allclose(se, se_explicit, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(linear, linear_explicit, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_folded_into_scale_and_shift(momentum):
    def both(net: Builder, x: Tensor):
        found = net.add("n", BatchNorm(masked=True), x), net.masked(net.add("n", BatchNorm(), x))
        assert not any(y.pending for y in found)
        return found

    folded, explicit = run(both, feature(Quantity.of(WIDTH)), momentum=momentum)
    np.testing.assert_allclose(folded, explicit, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_switchable_norm_is_the_mixture_of_the_norms_of_the_widths(momentum):
    """Under soft gates, masked: sum_w P(w) mask_w norm_w(x), each with scale and shift of its own."""
    wide, x = Held(), feature(Quantity.of(WIDTH))

    def norm(switchable: bool, **given):
        operator = BatchNorm(masked=True, switchable=switchable)
        return run(lambda net, x: (net.add("n", operator, x),), x, momentum=momentum, **given)[0]

    found = norm(True, parameters=wide)
    tables = {leaf: wide.values[f".n.{leaf}{OF_WIDTH}"].reshape(3, 4) for leaf in ("scale", "shift")}
    expected = jnp.zeros_like(found)
    for row, (width, p) in enumerate(zip(WIDTH.options, (0.2, 0.3, 0.5), strict=True)):
        own = Held()
        own.values = {k: v + tables[k[3:]][row] if k[3:] in tables else v for k, v in wide.values.items()}
        part = norm(False, gates=one_hot(Layout((WIDTH,)), {"w": row}), parameters=own)
        assert not np.any(np.asarray(part)[..., width:])
        expected = expected + p * part
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_shares_of_the_values_of_a_width():
    """Joint options with one value count together, in ascending order of the values."""
    requests, width = Requests(), Quantity.of(WIDTH) * Quantity.of(Choice("v", (2, 4)))  # 2, 4, 4, 8, 8, 16
    requests.shares(width)
    plan = StackedLookup(requests, LAYOUT)(GATES)
    np.testing.assert_allclose(plan.shares(width), [0.05, 0.15 + 0.075, 0.225 + 0.125, 0.375], rtol=1e-6)


def test_residual_counts_by_the_probability_that_widths_agree():
    """Each branch is masked once, never the sum again: a soft mask is not idempotent."""
    other = Quantity.combine(lambda w, v: 4 if v == 5 else w, Quantity.of(WIDTH), Quantity.of(SECOND))
    x, y = feature(Quantity.of(WIDTH), seed=1), feature(Quantity.of(WIDTH), seed=2)
    agree = Value(square(Quantity.constant(3), other, pending=True), x.array)

    def both(net: Builder, x: Tensor, agree: Tensor, y: Tensor):
        return net.add("a", Residual(), x, y), net.add("b", Residual(), agree, y)

    same, partly = run(both, x, agree, y)
    mask = np.array([1, 0.8, 0.5, 0.5])
    np.testing.assert_allclose(same, mask * (np.asarray(x.array) + np.asarray(y.array)), rtol=1e-5, atol=1e-6)
    # Equal unless v is 5 (0.75) and w is not 4 (0.5); x's own mask is then 1 with probability 0.75 more.
    x_mask = 0.25 * mask + 0.75
    expected = mask * np.asarray(y.array) + (1 - 0.75 * 0.5) * x_mask * np.asarray(x.array)
    np.testing.assert_allclose(partly, expected, rtol=1e-5, atol=1e-6)


def plain(function, *inputs, wide):
    """`function` of a network without choices on slices of the wide one's parameters."""
    sliced = Sliced()
    sliced.values = wide.values
    return run(function, *inputs, gates=one_hot(Layout(()), {}), parameters=sliced)[0]


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("option", range(3))
def test_layer_norm_under_a_mask_is_that_of_the_sliced_map(option, pending):
    """Inputs with a mean far from zero: channels that are masked must count neither in the mean nor in the variance."""
    width, wide = Choice("w", (2, 5, 8)), Held()
    x = 7 + 2 * feature(Quantity.of(width)).array
    n = width.options[option]
    gates = one_hot(Layout((width,)), {"w": option})

    def norm(net: Builder, x: Tensor):
        return (net.masked(net.add("n", LayerNorm(), x if pending else net.masked(x))),)

    given = Value(square(Quantity.constant(3), Quantity.of(width), pending=True), x)
    found = run(norm, given, gates=gates, parameters=wide)[0]
    small = Value(square(Quantity.constant(3), Quantity.constant(n)), x[..., :n])
    expected = plain(norm, small, wide=wide)
    np.testing.assert_allclose(found[..., :n], expected, rtol=1e-5, atol=1e-5)
    assert not np.any(found[..., n:])
    exact = np.asarray(x[..., :n], np.float64)
    normal = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    wanted = normal * np.asarray(wide.values[".n.scale"][:n]) + np.asarray(wide.values[".n.shift"][:n])
    np.testing.assert_allclose(expected, wanted, rtol=1e-5, atol=1e-5)


def test_layer_norm_under_a_soft_mask_weighs_its_statistics():
    """Mean and variance are those of a draw of channels with the mask's probabilities."""
    x = 5 + feature(Quantity.of(WIDTH)).array
    wide, mask = Held(), np.array([1, 0.8, 0.5, 0.5])
    given = Value(square(Quantity.constant(3), Quantity.of(WIDTH), pending=True), x)
    found = run(lambda net, x: (net.add("n", LayerNorm(), x),), given, parameters=wide)[0]
    values = np.asarray(x, np.float64) * mask  # what is masked once stays the network's value
    mean = values.sum(-1, keepdims=True) / mask.sum()
    variance = (mask * (values - mean) ** 2).sum(-1, keepdims=True) / mask.sum()
    expected = (values - mean) / np.sqrt(variance + 1e-5) * wide.values[".n.scale"] + wide.values[".n.shift"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("talking", [True, False])
@pytest.mark.parametrize("option", range(3))
def test_attention_under_a_mask_over_heads_is_that_of_the_sliced_heads(option, talking):
    """Unmasked heads would leak through the talking heads, before the softmax and after it."""
    choice, wide, side = Choice("h", (1, 3, 4)), Held(), Quantity.constant(3)
    arrays = [feature(Quantity.constant(4 * size), seed=n).array for n, size in enumerate((2, 2, 5))]
    gates = one_hot(Layout((choice,)), {"h": option})

    def cut(heads: Quantity):
        sizes = zip(arrays, (2, 2, 5), strict=True)
        return [Value(square(side, heads * n, pending=True), x[..., : heads.max() * n]) for x, n in sizes]

    def attention(heads: Quantity):
        def built(net: Builder, q: Tensor, k: Tensor, v: Tensor):
            scores = net.add("bias", DistanceBias(side, side), net.add("s", AttentionScores(heads), q, k))
            if talking:
                scores = net.add("before", MixHeads(), scores)
            scores = net.add("softmax", Softmax(), scores)
            if talking:
                scores = net.add("after", MixHeads(), scores)
            return (net.add("out", Conv(Quantity.constant(6)), net.add("a", Attend(side, side), scores, v)),)

        return built

    heads, fixed = Quantity.of(choice), Quantity.constant(choice.options[option])
    found = run(attention(heads), *cut(heads), gates=gates, parameters=wide)[0]
    expected = plain(attention(fixed), *cut(fixed), wide=wide)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
