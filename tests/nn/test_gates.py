"""Gates: distributions, straight-through, extremes of float32, and gates with a group axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.read import space_from_data
from dnas.nn.gates import (
    Gates,
    Layout,
    as_mapping,
    entropy,
    gumbel_softmax,
    harden,
    init_theta,
    keep_largest,
    one_hot,
    probabilities,
    straight_through,
    uniform,
)  # fmt: skip
from dnas.nn.supernet import Supernet, init
from dnas.space.quantity import Choice

OPTIONS = {"a": (1, 2, 3, 4), "b": (False, True), "c": ("x", "y", "z"), "d": (1,)}
LAYOUT = Layout(tuple(Choice(name, options) for name, options in OPTIONS.items()))
THETA = jnp.asarray([[1.0, 0.0, -1.0, 0.5], [0.3, -0.3, 0, 0], [0.0, 2.0, -2.0, 0], [0.7, 0, 0, 0]])

SMALL = {
    "name": "small",
    "input": {"channels": 2, "classes": 4, "resolution": {"choices": [6, 9, 12]}},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": {"choices": [4, 8]}, "act": "hswish"}},
        {
            "one_of": [
                {"mbconv": {"out": 8, "kernel": {"choices": [3, 5]}, "se": {"choices": [False, True]}}},
                {"skip": {"out": 8}},
            ]
        },
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


def test_argmax_of_gumbel_draws_has_the_probabilities_of_softmax():
    count = 20_000
    keys = jax.random.split(jax.random.key(0), count)
    hard = jax.vmap(lambda key: harden(gumbel_softmax(LAYOUT, THETA, key, 2.0)).values)(keys)
    p = np.asarray(probabilities(LAYOUT, THETA).values)
    # Four standard deviations of a mean of `count` draws.
    np.testing.assert_allclose(hard.mean(0), p, atol=4 * 0.5 / count**0.5)
    # Noise is of its own for every choice: what one takes says nothing of another.
    first, second = np.asarray(hard[:, 0, 0]), np.asarray(hard[:, 2, 1])
    assert abs(np.mean(first * second) - first.mean() * second.mean()) < 4 * 0.25 / count**0.5


def test_draws_are_the_formula_and_repeat_with_the_key():
    key = jax.random.key(3)
    u = np.asarray(jax.random.uniform(key, LAYOUT.shape, jnp.float32, minval=jnp.finfo(jnp.float32).tiny), np.float64)
    for noise, drawn in (("gumbel", -np.log(-np.log(u))), ("uniform", u)):
        found = as_mapping(gumbel_softmax(LAYOUT, THETA, key, 0.7, noise=noise))
        for row, choice in enumerate(LAYOUT.choices):
            logits = np.exp((np.asarray(THETA, np.float64) + drawn)[row, : len(choice)] / 0.7)
            np.testing.assert_allclose(found[choice.name], logits / logits.sum(), rtol=1e-5)


def test_uniform_noise_is_bounded():
    """Its support is an interval of length 1: an option behind by more is never first."""
    theta = THETA.at[0].set(jnp.asarray([1.5, 0.0, 0.0, 0.0]))
    keys = jax.random.split(jax.random.key(0), 2000)
    for noise, never in (("uniform", True), ("gumbel", False)):
        first = jax.vmap(lambda k, n=noise: harden(gumbel_softmax(LAYOUT, theta, k, 1.0, noise=n)).values[0, 0])(keys)
        assert bool(jnp.all(first == 1)) == never


def test_padding_is_zero_and_rows_add_up():
    for gates in (
        gumbel_softmax(LAYOUT, THETA, jax.random.key(0), 1.0), probabilities(LAYOUT, THETA), uniform(LAYOUT),
        straight_through(probabilities(LAYOUT, THETA)),
        keep_largest(probabilities(LAYOUT, THETA), ["a", "c"], 2), one_hot(LAYOUT, {"a": 1, "b": 0, "c": 2, "d": 0}),
    ):  # fmt: skip
        assert np.all(np.asarray(gates.values)[~LAYOUT.real] == 0)
        np.testing.assert_allclose(gates.values.sum(-1), 1, rtol=1e-6)
        assert gates["c"].shape == (3,) and gates["d"].shape == (1,)
    gradient = jax.grad(lambda t: jnp.sum(gumbel_softmax(LAYOUT, t, jax.random.key(0), 1.0).values ** 2))(THETA)
    assert np.all(np.asarray(gradient)[~LAYOUT.real] == 0)


def test_straight_through():
    """Zeros and ones exactly in the forward pass, the soft gates' gradient in the backward pass."""
    weights = jnp.asarray(np.random.default_rng(0).normal(size=LAYOUT.shape), jnp.float32)

    def through(wrap, theta):
        return jnp.sum(wrap(gumbel_softmax(LAYOUT, theta, jax.random.key(1), 0.3)).values * weights)

    hard = straight_through(gumbel_softmax(LAYOUT, THETA, jax.random.key(1), 0.3)).values
    assert set(np.unique(hard)) == {0.0, 1.0}
    np.testing.assert_array_equal(hard, harden(gumbel_softmax(LAYOUT, THETA, jax.random.key(1), 0.3)).values)
    np.testing.assert_array_equal(
        jax.grad(lambda t: through(straight_through, t))(THETA), jax.grad(lambda t: through(lambda g: g, t))(THETA)
    )


def test_keep_largest():
    gates = Gates(jnp.asarray([[0.1, 0.4, 0.2, 0.3], [0.5, 0.5, 0, 0], [0.2, 0.2, 0.6, 0], [1, 0, 0, 0]]), LAYOUT)
    kept = keep_largest(gates, ["a"], 2).values
    np.testing.assert_allclose(kept[0], [0, 4 / 7, 0, 3 / 7], rtol=1e-6)
    np.testing.assert_array_equal(kept[1:], gates.values[1:])
    np.testing.assert_array_equal(keep_largest(gates, [], 2).values, gates.values)
    np.testing.assert_allclose(keep_largest(gates, ["a", "c"], 9).values, gates.values, rtol=1e-6)
    one, soft = keep_largest(gates, ["a"], 1), jax.grad(lambda v: 3 * v[0, 0] + 5 * v[0, 1])(gates.values)
    np.testing.assert_array_equal(one.values[0], [0, 1, 0, 0])
    through = jax.grad(lambda v: 3 * (kept := keep_largest(Gates(v, LAYOUT), ["a"], 1).values)[0, 0] + 5 * kept[0, 1])
    np.testing.assert_array_equal(through(gates.values), soft)
    # Of equal entries no more than `count`, else those that are not computed would count as zeros.
    assert np.count_nonzero(keep_largest(uniform(LAYOUT), ["a"], 2)["a"]) == 2


@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_extremes_stay_finite(size, temperature):
    theta = THETA.at[0, 0].set(size).at[2, 1].set(-size)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=LAYOUT.shape), jnp.float32)

    def loss(theta):
        gates = keep_largest(gumbel_softmax(LAYOUT, theta, jax.random.key(0), temperature), ["a"], 2)
        soft = jnp.sum(gates.values * weights) + jnp.sum(straight_through(gates).values * weights)
        return soft + jnp.sum(entropy(LAYOUT, theta))

    value, gradient = jax.value_and_grad(loss)(theta)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_entropy():
    assert np.asarray(entropy(LAYOUT, init_theta(LAYOUT)))[:3] == pytest.approx(1.0)
    assert np.asarray(entropy(LAYOUT, THETA * 1e4))[:3] == pytest.approx(0.0, abs=1e-6)
    assert float(entropy(LAYOUT, THETA)[3]) == 0.0  # one option


def test_no_choices():
    layout = Layout(())
    assert probabilities(layout, init_theta(layout)).values.shape[0] == 0
    assert gumbel_softmax(layout, init_theta(layout), jax.random.key(0), 1.0).values.shape[0] == 0


@pytest.mark.parametrize("paths", [None, 2])
def test_group_axis_equals_separate_calls(paths):
    """Several gates over shared weights, through the whole supernet and its gradient."""
    space = space_from_data(SMALL, "small")
    layout, net, variables = (
        Layout(space.choices),
        Supernet(space, resolution_paths=paths),
        init(space, jax.random.key(0)),
    )
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 12, 2)), jnp.float32)

    def loss(values, variables):
        (logits, _), updated = net.apply(
            variables, images, Gates(values, layout), momentum=0.9, mutable=["batch_stats"]
        )
        return jnp.sum(jax.nn.log_softmax(logits)[:, 0]), (logits, updated["batch_stats"]["trunk.0.norm.var"])

    drawn = [gumbel_softmax(layout, init_theta(layout), jax.random.key(n), 1.0).values for n in range(2)]
    one = jax.jit(jax.value_and_grad(loss, has_aux=True))
    many = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True), in_axes=(0, None)))
    grouped = many(jnp.stack(drawn), variables)
    for n, values in enumerate(drawn):
        separate = one(values, variables)
        for a, b in zip(
            jax.tree.leaves(separate), jax.tree.leaves(jax.tree.map(lambda x, n=n: x[n], grouped)), strict=True
        ):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * float(jnp.abs(a).max()))
