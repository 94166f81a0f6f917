"""Self-attention on arrays; channels are [heads, width of a head]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.maths.axes import Map, OtherMap


def scores(q: Map, k: OtherMap, heads: int) -> Float[Array, "N heads Q K"]:
    """q k^T / sqrt(width of a head); channels are [heads, width]."""
    q, k = (_by_head(x, heads) for x in (q, k))
    return jnp.einsum("nqhd,nkhd->nhqk", q * q.shape[-1] ** -0.5, k)


def attend(scores: Float[Array, "N heads Q K"], v: Map, side: int) -> OtherMap:
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


def mix_heads(
    scores: Float[Array, "N heads Q K"], w: Float[Array, "heads G"], mask: Float[Array, " heads"] | None
) -> Float[Array, "N G Q K"]:
    """A matrix product over the heads, of scores times a mask over them."""
    w = w if mask is None else w * mask[:, None]
    return jnp.einsum("nhqk,hg->ngqk", scores, w)


def softmax(scores: Float[Array, "N heads Q K"]) -> Float[Array, "N heads Q K"]:
    """Over the keys."""
    return jax.nn.softmax(scores, axis=-1)
