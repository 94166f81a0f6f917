"""Channel masks: their values, and folding them into the next weights or into a norm's scale and shift."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.network import Feature, Network
from dnas.nn.forward import OF_WIDTH, Forward
from dnas.nn.gates import Gates, Layout, one_hot
from dnas.nn.lookup import Plan, Requests
from dnas.space.quantity import Choice, Quantity

WIDTH = Choice("w", (1, 2, 4))
SECOND = Choice("v", (3, 5))
LAYOUT = Layout((WIDTH, SECOND))
GATES = Gates(jnp.asarray([[0.2, 0.3, 0.5], [0.25, 0.75, 0]]), LAYOUT)


class Held:
    """Parameters drawn on first use and kept."""

    def __init__(self):
        self.values, self.updates, self.rng = {}, {}, np.random.default_rng(0)

    def weight(self, path, shape, start=None):
        return self.values.setdefault(path, jnp.asarray(self.rng.normal(size=shape), jnp.float32))

    def statistic(self, path, start, shape):
        return self.values.setdefault(path, jnp.asarray(self.rng.uniform(0.5, 1.5, shape), jnp.float32))

    def update(self, path, value):
        self.updates[path] = value


def run(function, momentum=None, gates=GATES, parameters=None):
    """`function(network)` twice, as every forward pass: first to note what it asks of its gates."""
    parameters, requests = parameters or Held(), Requests()
    function(Network(Forward(parameters, gates, requests, momentum)))
    return function(Network(Forward(parameters, gates, Plan(requests, gates.layout)(gates), momentum)))


class Sliced(Held):
    """The leading part of parameters that are held already."""

    def weight(self, path, shape, start=None):
        return self.values[path][tuple(slice(n) for n in shape)]


def feature(width: Quantity, side: int = 3, seed: int = 1) -> Feature:
    value = np.random.default_rng(seed).normal(size=(2, side, side, width.max()))
    return Feature(jnp.asarray(value, jnp.float32), width, Quantity.constant(side), pending=True)


def test_values():
    requests, width = Requests(), Quantity.of(WIDTH)
    requests.mask(width, 4)
    requests.mask(width, 6)
    requests.mask(width * Quantity.of(SECOND), 20)
    plan = Plan(requests, LAYOUT)(GATES)
    np.testing.assert_allclose(plan.mask(width, 4), [1, 0.8, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(plan.mask(width, 6), [1, 0.8, 0.5, 0.5, 0, 0], rtol=1e-6)
    joint = plan.mask(width * Quantity.of(SECOND), 20)
    # Widths 3, 5, 6, 10, 12, 20 with the products of the gates.
    p = {3: 0.05, 5: 0.15, 6: 0.075, 10: 0.225, 12: 0.125, 20: 0.375}
    np.testing.assert_allclose(joint, [sum(q for w, q in p.items() if w > c) for c in range(20)], rtol=1e-6)


def test_effective_width():
    """0.8 * 16 + 0.2 * 12 = 15.2, and the mask's entries add up to it."""
    choice = Choice("c", (12, 16))
    layout, width, requests = Layout((choice,)), Quantity.of(choice), Requests()
    gates = Gates(jnp.asarray([[0.2, 0.8]]), layout)
    requests.mask(width, 16)
    requests.mean(width)
    plan = Plan(requests, layout)(gates)
    assert float(plan.mean(width)) == pytest.approx(15.2)
    assert float(plan.mask(width, 16).sum()) == pytest.approx(15.2)
    assert width.mean({"c": np.array([0.2, 0.8])}) == pytest.approx(15.2)


@pytest.mark.parametrize("kernel", [1, 3])
def test_folded_into_the_next_weights(kernel):
    def both(net: Network):
        x, out = feature(Quantity.of(WIDTH)), Quantity.constant(5)
        return net.conv("c", x, out, kernel), net.conv("c", net.masked(x), out, kernel)

    folded, explicit = run(both)
    np.testing.assert_allclose(folded.value, explicit.value, rtol=1e-5, atol=1e-6)


def test_folded_into_a_linear_layer_and_squeeze_excite():
    def both(net: Network):
        x, hidden, relu = feature(Quantity.of(WIDTH)), Quantity.of(SECOND), Quantity.constant("relu")
        se = [net.squeeze_excite("se", x, hidden, relu), net.squeeze_excite("se", net.masked(x), hidden, relu)]
        vector = net.global_pool(x)
        linear = [net.linear("l", v, Quantity.constant(5)) for v in (vector, net.masked(vector))]
        return net.masked(se[0]), se[1], *linear

    se, se_explicit, linear, linear_explicit = run(both)
    np.testing.assert_allclose(se.value, se_explicit.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(linear.value, linear_explicit.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_folded_into_scale_and_shift(momentum):
    def both(net: Network):
        x = feature(Quantity.of(WIDTH))
        return net.batch_norm("n", x, masked=True), net.masked(net.batch_norm("n", x))

    folded, explicit = run(both, momentum)
    assert not folded.pending and not explicit.pending
    np.testing.assert_allclose(folded.value, explicit.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_switchable_norm_is_the_mixture_of_the_norms_of_the_widths(momentum):
    """Under soft gates, masked: sum_w P(w) mask_w norm_w(x), each with scale and shift of its own."""
    wide = Held()

    def norm(net: Network, switchable: bool):
        return net.batch_norm("n", feature(Quantity.of(WIDTH)), masked=True, switchable=switchable).value

    found = run(lambda net: norm(net, True), momentum, parameters=wide)
    tables = {leaf: wide.values[f".n.{leaf}{OF_WIDTH}"].reshape(3, 4) for leaf in ("scale", "shift")}
    expected = jnp.zeros_like(found)
    for row, (width, p) in enumerate(zip(WIDTH.options, (0.2, 0.3, 0.5), strict=True)):
        own = Held()
        own.values = {k: v + tables[k[3:]][row] if k[3:] in tables else v for k, v in wide.values.items()}
        gates = one_hot(Layout((WIDTH,)), {"w": row})
        part = run(lambda net: norm(net, False), momentum, gates, own)
        assert not np.any(np.asarray(part)[..., width:])
        expected = expected + p * part
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_shares_of_the_values_of_a_width():
    """Joint options with one value count together, in ascending order of the values."""
    requests, width = Requests(), Quantity.of(WIDTH) * Quantity.of(Choice("v", (2, 4)))  # 2, 4, 4, 8, 8, 16
    assert requests.shares(width).shape == (4,)
    plan = Plan(requests, LAYOUT)(GATES)
    np.testing.assert_allclose(plan.shares(width), [0.05, 0.15 + 0.075, 0.225 + 0.125, 0.375], rtol=1e-6)


def test_residual_counts_by_the_probability_that_widths_agree():
    """Each branch is masked once, never the sum again: a soft mask is not idempotent."""
    other = Quantity.of(Choice("v", (3, 5)))

    def both(net: Network):
        x, y = feature(Quantity.of(WIDTH), seed=1), feature(Quantity.of(WIDTH), seed=2)
        agree = replace(x, channels=Quantity.combine(lambda w, v: 4 if v == 5 else w, Quantity.of(WIDTH), other))
        return net.residual(x, y), net.residual(agree, y), x, y

    same, partly, x, y = run(both)
    mask = np.array([1, 0.8, 0.5, 0.5])
    np.testing.assert_allclose(same.value, mask * (np.asarray(x.value) + np.asarray(y.value)), rtol=1e-5, atol=1e-6)
    # Equal unless v is 5 (0.75) and w is not 4 (0.5); x's own mask is then 1 with probability 0.75 more.
    x_mask = 0.25 * mask + 0.75
    expected = mask * np.asarray(y.value) + (1 - 0.75 * 0.5) * x_mask * np.asarray(x.value)
    np.testing.assert_allclose(partly.value, expected, rtol=1e-5, atol=1e-6)


def plain(function, wide):
    """`function(network)` of a network without choices on slices of the wide one's parameters."""
    sliced = Sliced()
    sliced.values = wide.values
    layout = Layout(())
    return run(function, gates=one_hot(layout, {}), parameters=sliced)


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("option", range(3))
def test_layer_norm_under_a_mask_is_that_of_the_sliced_map(option, pending):
    """Inputs with a mean far from zero: channels that are masked must count neither in the mean nor in the variance."""
    width, wide = Choice("w", (2, 5, 8)), Held()
    x = 7 + 2 * feature(Quantity.of(width)).value
    n = width.options[option]
    gates = one_hot(Layout((width,)), {"w": option})

    def masked(net: Network):
        given = Feature(x, Quantity.of(width), Quantity.constant(3), pending=True)
        return net.masked(net.layer_norm("n", given if pending else net.masked(given)))

    found = run(masked, gates=gates, parameters=wide).value
    small = Feature(x[..., :n], Quantity.constant(n), Quantity.constant(3))
    expected = plain(lambda net: net.layer_norm("n", small), wide).value
    np.testing.assert_allclose(found[..., :n], expected, rtol=1e-5, atol=1e-5)
    assert not np.any(found[..., n:])
    exact = np.asarray(x[..., :n], np.float64)
    normal = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    wanted = normal * np.asarray(wide.values[".n.scale"][:n]) + np.asarray(wide.values[".n.shift"][:n])
    np.testing.assert_allclose(expected, wanted, rtol=1e-5, atol=1e-5)


def test_layer_norm_under_a_soft_mask_weighs_its_statistics():
    """Mean and variance are those of a draw of channels with the mask's probabilities."""
    x = 5 + feature(Quantity.of(WIDTH)).value

    def norm(net: Network):
        return net.layer_norm("n", Feature(x, Quantity.of(WIDTH), Quantity.constant(3), pending=True))

    wide, mask = Held(), np.array([1, 0.8, 0.5, 0.5])
    found = run(norm, parameters=wide).value
    values = np.asarray(x, np.float64) * mask  # what is masked once stays the network's value
    mean = values.sum(-1, keepdims=True) / mask.sum()
    variance = (mask * (values - mean) ** 2).sum(-1, keepdims=True) / mask.sum()
    expected = (values - mean) / np.sqrt(variance + 1e-5) * wide.values[".n.scale"] + wide.values[".n.shift"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("talking", [True, False])
@pytest.mark.parametrize("option", range(3))
def test_attention_under_a_mask_over_heads_is_that_of_the_sliced_heads(option, talking):
    """Unmasked heads would leak through the talking heads, before the softmax and after it."""
    heads, wide = Choice("h", (1, 3, 4)), Held()
    q, k, v = (feature(Quantity.constant(4 * size), seed=n).value for n, size in enumerate((2, 2, 5)))
    gates = one_hot(Layout((heads,)), {"h": option})

    def attention(net: Network, count: Quantity):
        def cut(x, size):
            return Feature(x[..., : count.max() * size], count * size, Quantity.constant(3), pending=True)

        scores = net.attention_bias("bias", net.attention_scores("s", cut(q, 2), cut(k, 2), count))
        if talking:
            scores = net.mix_heads("before", scores)
        scores = net.softmax(scores)
        if talking:
            scores = net.mix_heads("after", scores)
        return net.conv("out", net.attend("a", scores, cut(v, 5)), Quantity.constant(6))

    found = run(lambda net: attention(net, Quantity.of(heads)), gates=gates, parameters=wide).value
    expected = plain(lambda net: attention(net, Quantity.constant(heads.options[option])), wide).value
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
