"""How much each token matters to what a network gives (patch slimming, Tang et al. 2022, section 3.2).

Layer l takes tokens Z_{l-1} to Z_l; its attention, the mean over the heads, is P_l [queries, keys], and m_l says which
tokens go on after it. Of the paper's sum over paths of heads, of which there are exponentially many, the mean over the
heads stands in every layer.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Mask = Float[Array, " T"]


def mean_attention(attention: Float[Array, "N heads Q K"]) -> Float[Array, "N Q K"]:
    """P_l of each image."""
    return attention.mean(1)


def row_norms(attention: Float[Array, "N Q K"], tokens: Float[Array, "N K C"]) -> Float[Array, "N Q"]:
    """||U_t[i, :]|| for U_t = P_t |Z_{t-1}|: what token i gathers in layer t."""
    return jnp.linalg.norm(jnp.einsum("nqk,nkc->nqc", attention, jnp.abs(tokens)), axis=-1)


def carried(onward: Float[Array, "N R T"], mask: Mask, attention: Float[Array, "N T K"]) -> Float[Array, "N R K"]:
    """A_{t-1} = A_t diag(m_t) P_t: how the tokens after layer t - 1 reach the last layer; A_L is the identity."""
    return jnp.einsum("nrt,ntk->nrk", onward * mask, attention)


def significance(onward: Float[Array, "N R T"], norms: Float[Array, "N T"]) -> Float[Array, " T"]:
    """s_{t,i} = (||A_t[:, i]|| * ||U_t[i, :]||)^2, the mean over images."""
    return jnp.mean((jnp.linalg.norm(onward, axis=1) * norms) ** 2, axis=0)
