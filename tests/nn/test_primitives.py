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

from dnas import maths
from dnas.maths.activation import ACTIVATIONS, mixed


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
    ours, pull = jax.vjp(lambda x, w: maths.conv.depthwise(x, w, stride, padding), x, w)
    wanted, wanted_pull = jax.vjp(lambda x, w: library_depthwise(x, w, stride, padding), x, w)
    ct = random(*wanted.shape, seed=1)
    for found, expected in zip((ours, *pull(ct)), (wanted, *wanted_pull(ct)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kernel, stride, side", [(3, 1, 5), (5, 2, 6), (3, 2, 7), (1, 2, 5), (7, 3, 8)])
def test_depthwise_gradients_are_finite_differences(kernel, stride, side):
    x, w = random(1, side, side, 2), random(kernel, kernel, 2)
    check_grads(
        functools.partial(maths.conv.depthwise, stride=stride, padding=kernel // 2), (x, w), 1, ["rev"], 1e-2, 1e-2, 0.1
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_forms_are_the_convolution(stride):
    x, w = random(2, 5, 5, 3), random(1, 1, 3, 4)
    expected = lax.conv_general_dilated(x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(maths.conv.conv(x, w, stride, 0), expected, rtol=1e-5, atol=1e-6)


def test_masked_pointwise_and_gradients():
    """Against the product with the masked matrix, differentiated by jax."""
    x, w, mask, ct = random(2, 4, 4, 5), random(5, 3), jnp.linspace(0, 1, 5), random(2, 4, 4, 3)
    y, pull = jax.vjp(maths.conv.pointwise, x, w, mask)
    expected, expected_pull = jax.vjp(lambda x, w, mask: maths.conv.pointwise(x * mask, w), x, w, mask)
    for found, wanted in zip((y, *pull(ct)), (expected, *expected_pull(ct)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def pixels(side: int) -> np.ndarray:
    weights = np.random.default_rng(side).uniform(0, 1, (side, side))
    weights[0, 0] = 0  # on no grid
    return weights / weights.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_moments(weighted):
    x, w = np.random.default_rng(0).normal(2, 3, (4, 5, 5, 3)), pixels(5) if weighted else np.full((5, 5), 1 / 25)
    mean = np.einsum("nhwc,hw->c", x, w) / 4
    variance = np.einsum("nhwc,hw->c", (x - mean) ** 2, w) / 4
    found = maths.norm.moments(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32) if weighted else None)
    np.testing.assert_allclose(found[0], mean, rtol=1e-5)
    np.testing.assert_allclose(found[1], variance, rtol=1e-5)
    pooled = maths.pool.spatial_mean(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32) if weighted else None)
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
    found = maths.norm.moments(x, jnp.asarray(w, jnp.float32) if weighted else None)
    np.testing.assert_allclose(found[0], mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], variance, rtol=1e-3)  # the mean itself is good to 1e-3 of the deviation


@pytest.mark.parametrize("stride, side, kernel", [(1, 1, 5), (1, 2, 5), (1, 2, 7), (2, 2, 5), (2, 3, 7), (1, 3, 5)])
def test_rings_of_a_kernel_that_meet_padding_alone_are_left_out(stride, side, kernel):
    """Same values and gradients (zero there) as with them, for fewer FLOPs than the whole kernel takes."""
    x, w, padding = random(2, side, side, 3), random(kernel, kernel, 3), kernel // 2
    ours, pull = jax.vjp(lambda x, w: maths.conv.depthwise(x, w, stride, padding), x, w)
    wanted, wanted_pull = jax.vjp(lambda x, w: library_depthwise(x, w, stride, padding), x, w)
    ct = random(*wanted.shape, seed=1)
    for found, expected in zip((ours, *pull(ct)), (wanted, *wanted_pull(ct)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    counted = jax.jit(lambda x, w: maths.conv.depthwise(x, w, stride, padding)).lower(x, w).compile().cost_analysis()
    seen = np.abs(np.asarray(wanted_pull(jnp.ones_like(wanted))[1])).sum(-1) > 0
    rings = np.abs(np.argwhere(seen) - kernel // 2).max()
    assert counted["flops"] <= 2 * (2 * rings + 1) ** 2 * wanted.size


@pytest.mark.parametrize("names", [("relu", "hswish"), ("swish", "gelu", "none")])
def test_mixed_activations_and_gradients(names):
    """Against the sum as it stands, differentiated by jax; gates that need not add up to 1."""
    x, gates, ct = 3 * random(2, 5, 5, 3), jnp.linspace(0.1, 0.9, len(names)), random(2, 5, 5, 3, seed=1)

    def definition(x, gates):
        return sum(g * ACTIVATIONS[name](x) for g, name in zip(gates, names, strict=True))

    y, pull = jax.vjp(functools.partial(mixed, names), x, gates)
    expected, expected_pull = jax.vjp(definition, x, gates)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    for found, wanted in zip(pull(ct), expected_pull(ct), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    for n in range(len(names)):
        corner = jax.nn.one_hot(n, len(names))
        np.testing.assert_array_equal(mixed(names, x, corner), ACTIVATIONS[names[n]](x))


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

    found = jax.grad(functools.partial(total, maths.norm.moments), (0, 1))(x, logits)
    expected = jax.grad(functools.partial(total, definition), (0, 1))(x, logits)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kernel, stride, padding, side", [(3, 1, 1, 5), (5, 1, 2, 4), (3, 2, 1, 6), (1, 2, 0, 5)])
def test_average_pool_leaves_out_cells_beyond_the_map(kernel, stride, padding, side):
    x = random(2, side, side, 3)
    found, pull = jax.vjp(lambda x: maths.pool.average_pool(x, kernel, stride, padding), x)
    padded = np.full((2, side + 2 * padding, side + 2 * padding, 3), np.nan)
    padded[:, padding : padding + side, padding : padding + side] = x
    out = found.shape[1]
    assert out == (side + 2 * padding - kernel) // stride + 1
    for i in range(out):
        for j in range(out):
            window = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            np.testing.assert_allclose(found[:, i, j], np.nanmean(window, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    check_grads(
        lambda x: maths.pool.average_pool(jnp.asarray(x), kernel, stride, padding), (x,), 1, ["rev"], 1e-2, 1e-2, 0.1
    )


@pytest.mark.parametrize("side, factor", [(1, 2), (3, 2), (4, 3)])
def test_upsample_is_the_library_s(side, factor):
    x = random(2, side, side, 3)
    wanted = jax.image.resize(x, (2, side * factor, side * factor, 3), "bilinear")
    np.testing.assert_allclose(maths.pool.upsample(x, factor), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side, stride", [(4, 1), (4, 2), (5, 2)])
def test_distance_bias(side, stride):
    table, queries = random(2, side, side), -(-side // stride)
    found = maths.attention.distance_bias(table, queries, stride)
    assert found.shape == (2, queries**2, side**2)
    for q in range(queries**2):
        for k in range(side**2):
            apart = abs(stride * (q // queries) - k // side), abs(stride * (q % queries) - k % side)
            np.testing.assert_array_equal(found[:, q, k], table[:, apart[0], apart[1]])
    check_grads(
        lambda t: maths.attention.distance_bias(jnp.asarray(t), queries, stride), (table,), 1, ["rev"], 1e-2, 1e-2, 0.1
    )


def test_attention_against_loops():
    """Two heads of width 3 for queries and keys, 2 for values; four queries, nine keys."""
    q, k, v = random(1, 2, 2, 6), random(1, 3, 3, 6), random(1, 3, 3, 4)
    scores = np.asarray(maths.attention.scores(q, k, 2), np.float64)
    flat = [np.asarray(x, np.float64).reshape(-1, x.shape[-1]) for x in (q, k, v)]
    for h, i, j in np.ndindex(2, 4, 9):
        assert scores[0, h, i, j] == pytest.approx(
            flat[0][i, 3 * h : 3 * h + 3] @ flat[1][j, 3 * h : 3 * h + 3] / 3**0.5, 1e-5
        )
    out = np.asarray(maths.attention.attend(jnp.asarray(scores, jnp.float32), v, 2)).reshape(4, 4)
    for h, i in np.ndindex(2, 4):
        np.testing.assert_allclose(
            out[i, 2 * h : 2 * h + 2], scores[0, h, i] @ flat[2][:, 2 * h : 2 * h + 2], rtol=1e-4
        )
