"""Batch norm, and its gradient, by loops for CPU: XLA reads a map five times for what these read once or twice.

    y = (x - m) / sqrt(v + epsilon) * scale + shift,    m = sum_p w_p mean_n x,    v = sum_p w_p mean_n (x - m)^2

w_p are weights of the pixels, which add up to 1. A part of the batch finds its moments about its own mean, and those
of the parts are joined (Chan, Golub and LeVeque 1983): nothing cancels where |m| is much larger than sqrt(v).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.cpu import loops


@functools.partial(jax.jit, static_argnums=4)
def batch_normalised(
    x: Float[Array, "N *pixels C"], weights: Float[Array, "H W"] | None, scale: Array, shift: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """y, and the mean and variance of the batch, which take no gradient."""
    weighted = weights is not None
    flat = weights.reshape(-1) if weighted else _equal(x)
    found: tuple[Array, Array, Array] = _normalised(x, flat, scale, shift, epsilon, weighted)
    return found[0], *jax.lax.stop_gradient(found[1:])


def moments(x: Float[Array, "N *pixels C"], weights: Float[Array, "H W"] | None) -> tuple[Array, Array]:
    """Mean and variance a channel; they cannot be differentiated."""
    zero = jnp.zeros(x.shape[-1])
    mean, variance, *_ = _moments(x, _equal(x) if weights is None else weights.reshape(-1), zero, zero, 1.0)
    return mean, variance


def _equal(x: Array) -> Array:
    pixels = math.prod(x.shape[1:-1])
    return jnp.asarray(np.full(pixels, 1 / pixels, np.float32))


def _moments(x: Array, weights: Array, scale: Array, shift: Array, epsilon: float) -> Sequence[Array]:
    """Mean, variance, and the factor and summand that normalise."""
    channel = (x.shape[-1],)
    shapes = [(min(loops.PARTS, x.shape[0]), 2, *channel), *[channel] * 4]
    return loops.call("moments", shapes, x, weights, scale, shift, np.float32(epsilon), macs=3 * x.size)[1:]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _normalised(x: Array, weights: Array, scale: Array, shift: Array, epsilon: float, weighted: bool):
    mean, variance, factor, offset = _moments(x, weights, scale, shift, epsilon)
    return x * factor + offset, mean, variance


def _forward(x: Array, weights: Array, scale: Array, shift: Array, epsilon: float, weighted: bool):
    found: tuple[Array, Array, Array] = _normalised(x, weights, scale, shift, epsilon, weighted)
    return found, (x, weights, scale, *found[1:])


def _backward(epsilon: float, weighted: bool, saved: tuple[Array, ...], cts: tuple[Array, Array, Array]):
    x, weights, scale, mean, variance = saved
    ct, channel, few = cts[0], mean.shape, min(loops.PARTS, x.shape[0])
    _, d_scale, d_shift, slopes = loops.call(
        "norm_sums", [(few, 2, *channel), channel, channel, (3, *channel)],
        ct, x, mean, variance, scale, np.float32(epsilon), macs=2 * x.size,
    )  # fmt: skip
    wanted = weights.shape[0] * weighted
    d_x, _, d_weights = loops.call(
        "norm_gradient", [x.shape, (x.shape[0], wanted), (wanted,)], ct, x, mean, slopes, weights, macs=3 * x.size
    )
    return d_x, d_weights if weighted else None, d_scale, d_shift


_normalised.defvjp(_forward, _backward)
