"""Means over windows and maps, and enlargement."""

from __future__ import annotations

import functools
import operator

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from dnas.maths.axes import Map, OtherMap


def average_pool(x: Map, kernel: int, stride: int, padding: int) -> OtherMap:
    """Mean of the cells of each window that lie inside the map."""
    if kernel == 1 and padding == 0:
        return x[:, ::stride, ::stride]
    inside = jnp.asarray(np.ones((1, *x.shape[1:3], 1), np.float32), x.dtype)
    return _window_sums(x, kernel, stride, padding) / _window_sums(inside, kernel, stride, padding)


def scaled_pool(x: Map, w: Float[Array, ""], kernel: int, stride: int, padding: int) -> OtherMap:
    """w times the average pool: linear in either, as a mixture over grids needs it."""
    return w * average_pool(x, kernel, stride, padding)


def marked(x: Map) -> Float[Array, "N H W C+1"]:
    """x and a last channel of ones, which says where the map is once it lies in the corner of a larger one."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)


def marked_pool(x: Float[Array, "N H W C+1"], w: Float[Array, ""], kernel: int, stride: int, padding: int) -> OtherMap:
    """`scaled_pool` of a map that is `marked`: cells that the last channel does not mark count as outside."""
    sums = _window_sums(x, kernel, stride, padding)
    cells = lax.stop_gradient(sums[..., -1:])
    return w * (sums[..., :-1] / jnp.where(cells > 0, cells, 1))


def _window_sums(x: Map, kernel: int, stride: int, padding: int) -> OtherMap:
    for axis in (1, 2):
        edges = [(padding, padding) if a == axis else (0, 0) for a in range(4)]
        padded = jnp.pad(x, edges)
        span = padded.shape[axis] - kernel + 1
        shifted = [lax.slice_in_dim(padded, i, i + span, stride, axis) for i in range(kernel)]
        x = functools.reduce(operator.add, shifted)
    return x


def upsample(x: Map, factor: int) -> OtherMap:
    """Bilinear interpolation to `factor` times the side, pixels as areas; beyond the centres of edge pixels, theirs."""
    weights = jnp.asarray(interpolation(x.shape[1], factor), x.dtype)
    return jnp.einsum("nhwc,Hh,Ww->nHWc", x, weights, weights, precision="highest")


def scaled_upsample(x: Map, w: Float[Array, ""], factor: int) -> OtherMap:
    """w times the enlarged map: linear in either."""
    return w * upsample(x, factor)


def interpolation(side: int, factor: int) -> Float[np.ndarray, "out side"]:
    """Weights of linear interpolation along one axis."""
    place = np.clip((np.arange(side * factor) + 0.5) / factor - 0.5, 0, side - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side)[None])).astype(np.float32)


def spatial_mean(x: Map, weights: Float[Array, "H W"] | None) -> Float[Array, "N C"]:
    """Mean over the map, or over the pixels of the chosen grids."""
    if weights is None:
        return jnp.mean(x, (1, 2))
    n, h, w, c = x.shape
    row = jnp.broadcast_to(weights.reshape(1, h * w), (n, 1, h * w))
    return jnp.matmul(row, x.reshape(n, h * w, c), precision="highest")[:, 0]
