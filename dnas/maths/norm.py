"""Norms and their statistics."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from dnas.maths.axes import Map


def layer_norm(x: Float[Array, "*batch C"], mask: Float[Array, " C"] | None, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon) over channels. `mask` weighs the channels; x must be masked already."""
    if mask is None:
        centred = x - jnp.mean(x, -1, keepdims=True)
        return centred * lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + epsilon)
    count = jnp.sum(mask)
    centred = x - jnp.sum(x, -1, keepdims=True) / count
    return centred * lax.rsqrt(jnp.sum(mask * jnp.square(centred), -1, keepdims=True) / count + epsilon)


@jax.jit
def moments(x: Float[Array, "*batch C"], weights: Float[Array, "H W"] | None) -> tuple[Array, Array]:
    """Mean and variance a channel over all other axes; `weights` (adding up to 1) weigh the pixels of a map."""
    if weights is not None:
        return _weighted_moments(x, weights)
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    # A shift by the mean before squaring: mean of squares minus squared mean cancels where |mean| >> std.
    return mean, jnp.mean(jnp.square(x - mean), axes)


def of_parts(means: Float[Array, "parts C"], variances: Float[Array, "parts C"]) -> tuple[Array, Array]:
    """Mean and variance of a batch, from those of its equal parts."""
    mean = jnp.mean(means, 0)
    return mean, jnp.mean(variances + jnp.square(means - mean), 0)


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


def of_width(
    table: Float[Array, " entries"], shares: Float[Array, " widths"], widths: Sequence[int], masked: bool
) -> Float[Array, " C"]:
    """What each width adds to a parameter that all share: sum_w P(w) d_w, masked for w where the norm masks.

    `table` holds a row of channels for each width, flat.

    The parameter of width w is shared + d_w, which is as free as one of its own; but a width that is drawn rarely
    begins from what the others have learned. Statistics need no such table: they are estimated again for every network
    that is compared or kept.
    """
    rows = table.reshape(len(widths), -1)
    if masked:
        rows = jnp.where(np.arange(rows.shape[1]) < np.sort(widths)[:, None], rows, 0)
    return shares @ rows
