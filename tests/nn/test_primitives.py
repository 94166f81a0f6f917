"""Depthwise convolution, norm statistics and means against the library's own and against loops."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.test_util import check_grads

from dnas.nn import primitives as P


def library_depthwise(x, w, stride, padding):
    return lax.conv_general_dilated(
        x, w[:, :, None], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )  # fmt: skip


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), jnp.float32)


@settings(max_examples=10)
@given(
    kernel=st.sampled_from([3, 5, 7]), stride=st.sampled_from([1, 2, 3]), height=st.integers(3, 12),
    width=st.integers(3, 12), spare=st.integers(0, 3),
)  # fmt: skip
def test_depthwise_and_both_gradients(kernel, stride, height, width, spare):
    padding = kernel // 2 + spare - 1  # from one less than "same" to two more
    if min(height, width) + 2 * padding < kernel:
        return
    x, w = random(2, height, width, 3), random(kernel, kernel, 3)
    ours, pull = jax.vjp(lambda x, w: P.depthwise(x, w, stride, padding), x, w)
    wanted, wanted_pull = jax.vjp(lambda x, w: library_depthwise(x, w, stride, padding), x, w)
    ct = random(*wanted.shape, seed=1)
    for found, expected in zip((ours, *pull(ct)), (wanted, *wanted_pull(ct)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kernel, stride, side", [(3, 1, 5), (5, 2, 6), (3, 2, 7), (1, 2, 5), (7, 3, 8)])
def test_depthwise_gradients_are_finite_differences(kernel, stride, side):
    x, w = random(1, side, side, 2), random(kernel, kernel, 2)
    check_grads(functools.partial(P.depthwise, stride=stride, padding=kernel // 2), (x, w), 1, ["rev"], 1e-2, 1e-2, 0.1)


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_forms_are_the_convolution(stride):
    x, w = random(2, 5, 5, 3), random(1, 1, 3, 4)
    expected = lax.conv_general_dilated(x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(P.conv(x, w, stride, 0), expected, rtol=1e-5, atol=1e-6)


def pixels(side: int) -> np.ndarray:
    weights = np.random.default_rng(side).uniform(0, 1, (side, side))
    weights[0, 0] = 0  # on no grid
    return weights / weights.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_moments(weighted):
    x, w = np.random.default_rng(0).normal(2, 3, (4, 5, 5, 3)), pixels(5) if weighted else np.full((5, 5), 1 / 25)
    mean = np.einsum("nhwc,hw->c", x, w) / 4
    variance = np.einsum("nhwc,hw->c", (x - mean) ** 2, w) / 4
    found = P.moments(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32) if weighted else None)
    np.testing.assert_allclose(found[0], mean, rtol=1e-5)
    np.testing.assert_allclose(found[1], variance, rtol=1e-5)
    pooled = P.spatial_mean(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32) if weighted else None)
    np.testing.assert_allclose(pooled, np.einsum("nhwc,hw->nc", x, w), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_where_the_mean_is_far_larger_than_the_deviation(weighted):
    """Mean of squares minus squared mean would lose every digit: 1e4^2 against 1e-2^2."""
    noise = np.random.default_rng(0).normal(size=(8, 6, 6, 2))
    x = jnp.asarray(1e4 + 0.5 * noise, jnp.float32)
    w = pixels(6) if weighted else np.full((6, 6), 1 / 36)
    exact = np.asarray(x, np.float64)
    mean = np.einsum("nhwc,hw->c", exact, w) / 8
    variance = np.einsum("nhwc,hw->c", (exact - mean) ** 2, w) / 8
    found = P.moments(x, jnp.asarray(w, jnp.float32) if weighted else None)
    np.testing.assert_allclose(found[0], mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], variance, rtol=1e-3)  # the mean itself is good to 1e-3 of the deviation


def test_gradient_of_weighted_moments():
    """Written out by hand; against automatic differentiation of the definition, with weights that add up to 1."""
    x, d_mean, d_variance = random(3, 4, 4, 2), random(2), random(2, seed=1)
    logits = random(16, seed=2)

    def total(moments, x, logits):
        mean, variance = moments(x, jax.nn.softmax(logits).reshape(4, 4))
        return jnp.sum(mean * d_mean + variance * d_variance)

    def definition(x, w):
        w = (w / x.shape[0])[None, :, :, None]
        mean = jnp.sum(x * w, (0, 1, 2))
        return mean, jnp.sum(jnp.square(x - mean) * w, (0, 1, 2))

    found = jax.grad(functools.partial(total, P.moments), (0, 1))(x, logits)
    expected = jax.grad(functools.partial(total, definition), (0, 1))(x, logits)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
