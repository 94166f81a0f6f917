"""Uniform quantisation, and what tells how good it is (Liu et al. 2021, "Post-training quantization for vision
transformer", arXiv 2106.14156)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

THETA = 0.2
"""How far apart two scores shall stay."""


def bounds(bits: int | Array) -> tuple[Array, Array]:
    """The least and the largest whole number of `bits` bits."""
    half = jnp.exp2(jnp.asarray(bits, jnp.float32) - 1)
    return -half, half - 1


def whole(y: Array, step: Array, bits: int | Array) -> Array:
    """Q_D(Y) = clip(round(Y / D), -2^(b-1), 2^(b-1) - 1) ; halves go to the even number."""
    return jnp.clip(jnp.round(y / step), *bounds(bits))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def on_grid(y: Array, step: Array, bits: int) -> Array:
    """Q_D(Y) D. Its gradient is that of y between the bounds and 0 beyond (the straight-through estimator, Bengio et
    al. 2013); steps have none."""
    return whole(y, step, bits) * step


@on_grid.defjvp
def _on_grid_jvp(bits: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (y, step), (d_y, _) = primals, tangents
    low, high = bounds(bits)
    inside = (y >= low * step) & (y <= high * step)
    return on_grid(y, step, bits), jnp.where(inside, d_y, jnp.zeros_like(d_y))


def pearson(a: Float[Array, "N ..."], b: Float[Array, "N ..."]) -> Float[Array, " N"]:
    """Gamma(O, O^), the correlation of two results, of each sample (their similarity-aware quantisation); 0 where one
    of them is constant."""
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    a, b = (x - jnp.mean(x, 1, keepdims=True) for x in (a, b))
    lengths = jnp.sqrt(jnp.sum(a * a, 1) * jnp.sum(b * b, 1))
    return jnp.where(lengths > 0, jnp.sum(a * b, 1) / jnp.where(lengths > 0, lengths, 1), 0.0)


def ranking_loss(
    before: Float[Array, "N *rows K"],
    after: Float[Array, "N *rows K"],
    pairs: tuple[Array, Array],
    theta: float = THETA,
) -> Float[Array, " N"]:
    """Mean over rows and pairs (i, j) of phi((A^_i - A^_j) sign(A_i - A_j)), phi(p) = max(0, theta - p)
    (their ranking-aware quantisation).

    The paper sums over all pairs of a row; a mean over some of them leaves its weight the same for any number of
    tokens. Equal scores have no order to keep.
    """
    first, second = pairs
    order = jnp.sign(before[..., first] - before[..., second])
    gap = (after[..., first] - after[..., second]) * order
    lost = jnp.where(order == 0, 0.0, jnp.maximum(0.0, theta - gap))
    return jnp.mean(lost.reshape(len(lost), -1), 1)


def nuclear_norm(features: Float[Array, "N ... rows columns"]) -> Float[Array, " N"]:
    """The sum of the singular values of each matrix, over all matrices of a sample."""
    values = jnp.linalg.svd(features, compute_uv=False)
    return jnp.sum(values.reshape(len(values), -1), 1)
