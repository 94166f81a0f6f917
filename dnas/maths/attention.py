"""Self-attention on arrays; channels are [heads, width of a head].

Positions are the axes after the batch and, of `around` further ones (windows, patches), each attends to its own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def scores(
    q: Float[Array, "N *queries C"], k: Float[Array, "N *keys C"], heads: int, around: int = 0
) -> Float[Array, "N *around heads Q K"]:
    """q k^T / sqrt(width of a head)."""
    q, k = (by_head(x, heads, around) for x in (q, k))
    return jnp.einsum("...qhd,...khd->...hqk", q * q.shape[-1] ** -0.5, k)


def attend(
    scores: Float[Array, "N *around heads Q K"], v: Float[Array, "N *keys C"], side: int | None = None
) -> Float[Array, "N *queries C"]:
    """Values weighted by scores: in a row, or as a map of side `side`."""
    around = scores.ndim - 4
    mixed = jnp.einsum("...hqk,...khd->...qhd", scores, by_head(v, scores.shape[-3], around))
    rows = mixed.shape[1 + around :][:1] if side is None else (side, side)
    return mixed.reshape(*mixed.shape[: 1 + around], *rows, v.shape[-1])


def attend_uneven(
    scores: Float[Array, "N *around heads Q K"],
    v: Float[Array, "N *keys C"],
    side: int | None,
    width: int,
    places: tuple[int, ...],
) -> Float[Array, "N *queries C"]:
    """`attend` where heads have up to `width` channels: what a head has less are zeros. `places` are those of the
    channels of v among heads of that width."""
    at = np.array(places)
    padded = jnp.zeros((*v.shape[:-1], scores.shape[-3] * width), v.dtype).at[..., at].set(v)
    return attend(scores, padded, side)[..., at]


def by_head(x: Float[Array, "N *positions C"], heads: int, around: int) -> Float[Array, "N *around Q heads width"]:
    """Positions in a row, channels as heads and their width."""
    return x.reshape(*x.shape[: 1 + around], -1, heads, x.shape[-1] // heads)


def relative_scores(
    q: Float[Array, "N Q C"], table: Float[Array, "Q K width"], heads: int
) -> Float[Array, "N heads Q K"]:
    """q_i . r_ij / sqrt(width of a head) for vectors r_ij that all heads share (Shaw et al. 2018, eq. 5)."""
    q = by_head(q, heads, 0)
    return jnp.einsum("nqhd,qkd->nhqk", q * q.shape[-1] ** -0.5, table)


def relative_values(scores: Float[Array, "N heads Q K"], table: Float[Array, "Q K width"]) -> Float[Array, "N Q C"]:
    """sum_j a_ij r_ij, head by head (Shaw et al. 2018, eq. 3)."""
    mixed = jnp.einsum("nhqk,qkd->nqhd", scores, table)
    return mixed.reshape(*mixed.shape[:2], -1)


def relative_table(
    rows: Float[Array, "distances width"], columns: Float[Array, "distances width"], side: int, before: int
) -> Float[Array, "Q K width"]:
    """r_ij = rows[dy] + columns[dx] for pixels of a map of side `side`, dy and dx of key minus query, clipped to the
    tables; entry 0 for any pair with one of the `before` tokens that stand before the pixels (AutoFormer, Chen et al.
    2021, section 3.1).

    Products with one-hot matrices and not indices: the gradient of an index is a serial scatter on CPU.
    """
    reach = (rows.shape[0] - 2) // 2
    place = np.arange(side * side)
    total = jnp.zeros((), rows.dtype)
    for table, at in ((rows, place // side), (columns, place % side)):
        index = np.pad(np.clip(at[None] - at[:, None], -reach, reach) + reach + 1, ((before, 0), (before, 0)))
        picks = jnp.asarray(index[..., None] == np.arange(rows.shape[0]), rows.dtype)
        total = total + jnp.einsum("qkt,td->qkd", picks, table, precision="highest")
    return total


def distance_bias(table: Float[Array, "heads R R"], queries: int, stride: int) -> Float[Array, "heads Q K"]:
    """table[h, abs(stride * qy - ky), abs(stride * qx - kx)] for queries on a map of side `queries`, keys on side R.

    Two products with one-hot matrices and not an index: the gradient of an index is a serial scatter on CPU.
    """
    heads, side, _ = table.shape
    apart = np.abs(stride * np.arange(queries)[:, None] - np.arange(side)[None, :])
    picks = jnp.asarray(apart[..., None] == np.arange(side), table.dtype)
    bias = jnp.einsum("hab,yYa,xXb->hyxYX", table, picks, picks, precision="highest")
    return bias.reshape(heads, queries * queries, side * side)


def mix_heads(
    scores: Float[Array, "N heads Q K"], w: Float[Array, "heads G"], mask: Float[Array, " heads"] | None
) -> Float[Array, "N G Q K"]:
    """A matrix product over the heads, of scores times a mask over them."""
    w = w if mask is None else w * mask[:, None]
    return jnp.einsum("...hqk,hg->...gqk", scores, w)


def softmax(
    scores: Float[Array, "N *within heads Q K"], mask: Float[Array, " K"] | None = None
) -> Float[Array, "N *within heads Q K"]:
    """Over the keys; those whose mask is 0 are not there."""
    if mask is not None:
        scores = jnp.where(mask > 0, scores, jnp.finfo(scores.dtype).min)
    return jax.nn.softmax(scores, axis=-1)
