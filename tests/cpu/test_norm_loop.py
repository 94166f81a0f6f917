"""Norms and mixtures of activations by loops, against the forms that jax differentiates and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnas import maths
from dnas.cpu import activation_loop, norm_loop
from dnas.cpu.activation_loop import LINES
from dnas.cpu.built import usable
from dnas.cpu.forms import FORMS
from dnas.nn.gates import Layout, uniform
from dnas.ops import Activation
from dnas.ops.tensor import Value, square
from dnas.space.quantity import Choice, Quantity
from tests.nn.graphs import evaluated

pytestmark = pytest.mark.skipif(not usable(), reason="numba is not installed, or this is no CPU")
EPSILON = 1e-5


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), jnp.float32)


def by_jax(x, weights, scale, shift):
    mean, variance = maths.norm.moments(x, weights)
    return maths.norm.normalised(x, mean, variance, scale, shift, EPSILON)


def by_loop(x, weights, scale, shift):
    return norm_loop.batch_normalised(x, weights, scale, shift, EPSILON)[0]


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5 * (1 + float(jnp.abs(theirs).max())))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 19), st.integers(1, 9), st.integers(1, 150), st.booleans(), st.sampled_from([0.0, 30.0]))
def test_norm_and_its_gradients(images, side, channels, weighted, far):
    assume(images * side**2 > 2)  # of one number or two the normalised ones hardly depend on them
    x = random(images, side, side, channels) + far
    weights = jax.nn.softmax(random(side * side)).reshape(side, side) if weighted else None
    operands = x, weights, random(channels), random(channels, seed=1)
    y, pull = jax.vjp(by_loop, *operands)
    expected, expected_pull = jax.vjp(by_jax, *operands)
    close(y, expected)
    ct = random(*y.shape, seed=2)
    for ours, theirs in zip(jax.tree.leaves(pull(ct)), jax.tree.leaves(expected_pull(ct)), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("shape", [(7, 40), (5, 3, 3, 6)])
def test_moments(shape):
    x = random(*shape) * 3 + 1000
    mean, variance = norm_loop.moments(x, None)
    wide = np.asarray(x, np.float64).reshape(-1, shape[-1])
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, wide.var(0), rtol=1e-4)


def test_pixels_without_weight_do_not_matter():
    x, scale, shift = random(4, 2, 2, 3), random(3), random(3, seed=1)
    weights = jnp.array([[0.5, 0.5], [0, 0]])
    mean, variance = norm_loop.moments(x, weights)
    seen = np.asarray(x)[:, 0].reshape(-1, 3)
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, seen.var(0), rtol=1e-5)
    assert np.isfinite(by_loop(x, weights, scale, shift)).all()


def test_gradient_of_a_norm_by_finite_differences():
    x, weights = random(3, 2, 2, 4), jax.nn.softmax(random(4)).reshape(2, 2)
    scale, shift, ct = random(4), random(4, seed=1), random(3, 2, 2, 4, seed=2)
    direction = random(3, 2, 2, 4, seed=3)
    slope = jnp.vdot(jax.grad(lambda x: jnp.vdot(ct, by_loop(x, weights, scale, shift)))(x), direction)
    wide = [np.asarray(v, np.float64) for v in (x, weights, scale, shift, ct, direction)]

    def value(step):
        x, weights, scale, shift, ct, direction = wide
        x, w = x + step * direction, weights[None, :, :, None] / len(x)
        mean = (w * x).sum((0, 1, 2))
        variance = (w * (x - mean) ** 2).sum((0, 1, 2))
        return (ct * ((x - mean) / np.sqrt(variance + EPSILON) * scale + shift)).sum()

    assert float(slope) == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(LINES)), min_size=1, max_size=4), st.sampled_from([(5, 37), (3, 4, 4, 70)]))
def test_mixtures_of_activations(names, shape):
    x, gates, ct = 4 * random(*shape), random(len(names)), random(*shape, seed=1)
    y, pull = jax.vjp(lambda x, g: activation_loop.mixed(tuple(names), x, g), x, gates)
    expected, expected_pull = jax.vjp(lambda x, g: maths.activation.mixed(tuple(names), x, g), x, gates)
    close(y, expected)
    for ours, theirs in zip(pull(ct), expected_pull(ct), strict=True):
        close(ours, theirs)


def test_slopes_where_activations_bend():
    """jax's: relu and relu6 have slope 0 at their bends."""
    x = jnp.array([[-3.0, 0.0, 3.0, 6.0, -0.0]])
    for name in LINES:
        ours, theirs = (
            jax.grad(lambda x, mixed=mixed, name=name: mixed((name,), x, jnp.ones(1)).sum())(x)
            for mixed in (activation_loop.mixed, maths.activation.mixed)
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=name)


def test_functions_without_a_line_keep_their_form():
    def text(*names):
        choice = Choice("act", names)
        layout, x = Layout((choice,)), square(Quantity.constant(1), Quantity.constant(3))

        def value(array):
            act = Activation(Quantity.of(choice))
            y = evaluated(
                lambda net, x: [net.add("act", act, x)], [Value(x, array)], uniform(layout), None, forms=FORMS
            )
            return y[0].array.sum()

        return jax.jit(jax.grad(value)).lower(jnp.ones((2, 1, 1, 3))).as_text()

    assert "dnas_mixture_gradient" in text("relu", "hswish")
    assert "dnas_mixture_gradient" not in text("relu", "gelu")
