"""Arithmetic of the network on plain arrays: convolutions, norm statistics, activations.

Where backends need different forms, `dnas.nn.backends` chooses.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from dnas.nn.backends import by_backend
from dnas.nn.depthwise import shifted

Map = Float[Array, "N H W C"]


@dataclass(frozen=True)
class Spatial:
    """An operator on a map and weights with all else given; equal ones share one trace (`dnas.nn.mixing`)."""

    form: Callable[..., Map]
    arguments: tuple[int, ...]

    def __init__(self, form: Callable[..., Map], *arguments: int):
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "arguments", arguments)

    def __call__(self, x: Map, w: Array) -> Map:
        return self.form(x, w, *self.arguments)


FEW_GROUPS = 8
"""Up to so many groups a 1x1 convolution is a matrix product each."""


def pointwise(x: Float[Array, "*batch I"], w: Float[Array, "I O"]) -> Float[Array, "*batch O"]:
    """1x1 convolution or linear layer, as one matrix product (the 4-D form has a slow weight gradient on CPU)."""
    return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], w.shape[-1])


@jax.custom_vjp
def masked_pointwise(x: Float[Array, "*batch I"], w: Float[Array, "I O"], mask: Float[Array, " I"]) -> Array:
    """`pointwise` of x times a mask over its channels, which meets x or the matrix, whichever is smaller."""
    return pointwise(x * mask, w) if _is_smaller(x, w) else pointwise(x, w * mask[:, None])


def _is_smaller(x: Array, w: Array) -> bool:
    return x.size < w.size


def _masked_forward(x: Array, w: Array, mask: Array):
    return masked_pointwise(x, w, mask), (x, w, mask)


def _masked_backward(saved: tuple[Array, Array, Array], ct: Array):
    # What is masked is not kept: the mask meets the product with the factor as it is.
    x, w, mask = saved
    rows, ct_rows = x.reshape(-1, x.shape[-1]), ct.reshape(-1, ct.shape[-1])
    d_x = pointwise(ct, w.T)
    if _is_smaller(x, w):
        d_mask = jnp.sum(d_x.reshape(rows.shape) * rows, 0)
        return d_x * mask, (rows * mask).T @ ct_rows, d_mask
    d_w = rows.T @ ct_rows
    return d_x * mask, d_w * mask[:, None], jnp.sum(d_w * w, -1)


masked_pointwise.defvjp(_masked_forward, _masked_backward)


def conv(x: Map, w: Float[Array, "k k I O"], stride: int, padding: int, groups: int = 1) -> Map:
    """Convolution with equal padding on all sides."""
    if w.shape[0] == 1 and padding == 0 and groups <= FEW_GROUPS:
        x = x[:, ::stride, ::stride] if stride > 1 else x
        parts = zip(jnp.split(x, groups, -1), jnp.split(w[0, 0], groups, -1), strict=True)
        return jnp.concatenate([pointwise(part, own) for part, own in parts], -1)
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=(2, 3))
def depthwise(x: Map, w: Float[Array, "k k C"], stride: int, padding: int) -> Map:
    """One k x k kernel a channel."""
    return by_backend(
        functools.partial(shifted, stride=stride, padding=padding),
        lambda x, w: conv(x, w[:, :, None], stride, padding, groups=x.shape[-1]),
        x, w,
    )  # fmt: skip


def average_pool(x: Map, kernel: int, stride: int, padding: int) -> Map:
    """Mean of the cells of each window that lie inside the map."""
    if kernel == 1 and padding == 0:
        return x[:, ::stride, ::stride]
    inside = np.ones((1, *x.shape[1:3], 1), np.float32)
    return _window_sums(x, kernel, stride, padding) / _window_sums(jnp.asarray(inside), kernel, stride, padding)


def scaled_pool(x: Map, w: Float[Array, ""], kernel: int, stride: int, padding: int) -> Map:
    """w times the average pool: linear in either, as a mixture over grids needs it."""
    return w * average_pool(x, kernel, stride, padding)


def _window_sums(x: Map, kernel: int, stride: int, padding: int) -> Map:
    for axis in (1, 2):
        edges = [(padding, padding) if a == axis else (0, 0) for a in range(4)]
        padded = jnp.pad(x, edges)
        span = padded.shape[axis] - kernel + 1
        shifted = [lax.slice_in_dim(padded, i, i + span, stride, axis) for i in range(kernel)]
        x = functools.reduce(operator.add, shifted)
    return x


def upsample(x: Map, factor: int) -> Map:
    """Bilinear interpolation to `factor` times the side, pixels as areas; beyond the centres of edge pixels, theirs."""
    weights = jnp.asarray(interpolation(x.shape[1], factor))
    return jnp.einsum("nhwc,Hh,Ww->nHWc", x, weights, weights, precision="highest")


def scaled_upsample(x: Map, w: Float[Array, ""], factor: int) -> Map:
    """w times the enlarged map: linear in either."""
    return w * upsample(x, factor)


def interpolation(side: int, factor: int) -> Float[np.ndarray, "out side"]:
    """Weights of linear interpolation along one axis."""
    place = np.clip((np.arange(side * factor) + 0.5) / factor - 0.5, 0, side - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side)[None])).astype(np.float32)


def layer_norm(x: Float[Array, "*batch C"], mask: Float[Array, " C"] | None, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon) over channels. `mask` weighs the channels; x must be masked already."""
    if mask is None:
        centred = x - jnp.mean(x, -1, keepdims=True)
        return centred * lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + epsilon)
    count = jnp.sum(mask)
    centred = x - jnp.sum(x, -1, keepdims=True) / count
    return centred * lax.rsqrt(jnp.sum(mask * jnp.square(centred), -1, keepdims=True) / count + epsilon)


def attention_scores(q: Map, k: Map, heads: int) -> Float[Array, "N heads Q K"]:
    """q k^T / sqrt(width of a head); channels are [heads, width]."""
    q, k = (_by_head(x, heads) for x in (q, k))
    return jnp.einsum("nqhd,nkhd->nhqk", q * q.shape[-1] ** -0.5, k)


def attend(scores: Float[Array, "N heads Q K"], v: Map, side: int) -> Map:
    """Values weighted by scores, as a map of side `side`."""
    mixed = jnp.einsum("nhqk,nkhd->nqhd", scores, _by_head(v, scores.shape[1]))
    return mixed.reshape(v.shape[0], side, side, v.shape[-1])


def _by_head(x: Map, heads: int) -> Float[Array, "N pixels heads width"]:
    n, h, w, c = x.shape
    return x.reshape(n, h * w, heads, c // heads)


def distance_bias(table: Float[Array, "heads R R"], queries: int, stride: int) -> Float[Array, "heads Q K"]:
    """table[h, abs(stride * qy - ky), abs(stride * qx - kx)] for queries on a map of side `queries`, keys on side R.

    Two products with one-hot matrices and not an index: the gradient of an index is a serial scatter on CPU.
    """
    heads, side, _ = table.shape
    apart = np.abs(stride * np.arange(queries)[:, None] - np.arange(side)[None, :])
    picks = jnp.asarray((apart[..., None] == np.arange(side)).astype(np.float32))
    bias = jnp.einsum("hab,yYa,xXb->hyxYX", table, picks, picks, precision="highest")
    return bias.reshape(heads, queries * queries, side * side)


@jax.jit
def moments(x: Float[Array, "*batch C"], weights: Float[Array, "H W"] | None) -> tuple[Array, Array]:
    """Mean and variance a channel over all other axes; `weights` (adding up to 1) weigh the pixels of a map."""
    if weights is not None:
        return _weighted_moments(x, weights)
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    # A shift by the mean before squaring: mean of squares minus squared mean cancels where |mean| >> std.
    return mean, jnp.mean(jnp.square(x - mean), axes)


@functools.partial(jax.jit, static_argnums=5)
def normalised(x: Float[Array, "*batch C"], mean: Array, variance: Array, scale: Array, shift: Array, epsilon: float):
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, as one factor and one summand a channel."""
    factor = scale * lax.rsqrt(variance + epsilon)
    return x * factor + (shift - mean * factor)


@jax.custom_vjp
def _weighted_moments(x: Map, weights: Float[Array, "H W"]) -> tuple[Array, Array]:
    mean, variance, _ = _summed_moments(x, weights)
    return mean, variance


def _summed_moments(x: Map, weights: Array) -> tuple[Array, Array, tuple[Array, Array]]:
    """The moments, and each pixel's sums over the batch: the weights meet those, never a map of the whole batch."""
    w = (weights / x.shape[0])[:, :, None]
    first = batch_sum(x)
    mean = jnp.sum(first * w, (0, 1))
    second = batch_sum(jnp.square(x - mean))
    return mean, jnp.sum(second * w, (0, 1)), (first, second)


def batch_sum(x: Float[Array, "N ..."]) -> Array:
    """Sum over the batch, as a product with ones: XLA on CPU takes a sum over the outermost axis with one pixel of each
    image after the other, and needs 10 to 50 times as long for it.
    """
    ones = jnp.ones((1, x.shape[0]), x.dtype)
    return jnp.matmul(ones, x.reshape(x.shape[0], -1), precision="highest").reshape(x.shape[1:])


def _moments_forward(x: Map, weights: Array):
    mean, variance, sums = _summed_moments(x, weights)
    return (mean, variance), (x, weights, mean, sums)


def _moments_backward(saved: tuple[Map, Array, Array, tuple[Array, Array]], cts: tuple[Array, Array]):
    x, weights, mean, (first, second) = saved
    d_mean, d_variance = cts
    # The variance's path through the mean adds nothing: weighted deviations add up to zero.
    d_x = (weights / x.shape[0])[:, :, None] * (d_mean + 2 * (x - mean) * d_variance)
    return d_x, jnp.sum(first * d_mean + second * d_variance, -1) / x.shape[0]


_weighted_moments.defvjp(_moments_forward, _moments_backward)


def spatial_mean(x: Map, weights: Float[Array, "H W"] | None) -> Float[Array, "N C"]:
    """Mean over the map, or over the pixels of the chosen grids."""
    if weights is None:
        return jnp.mean(x, (1, 2))
    n, h, w, c = x.shape
    row = jnp.broadcast_to(weights.reshape(1, h * w), (n, 1, h * w))
    return jnp.matmul(row, x.reshape(n, h * w, c), precision="highest")[:, 0]
