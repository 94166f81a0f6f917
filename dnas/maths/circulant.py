"""Block-circulant matrices (augmented shortcuts, Tang et al. 2021, section 3.3)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Coefficients = Float[Array, "B B d"]
"""[block row of outputs, block column of inputs, coefficient]."""


def dense(coefficients: Coefficients) -> Float[Array, "I O"]:
    """The matrix W of y = x W: entry (r, c) of a block, of output r and input c, is its coefficient (r - c) mod d."""
    blocks, _, d = coefficients.shape
    index = (np.arange(d)[:, None] - np.arange(d)[None]) % d
    picks = jnp.asarray(index[..., None] == np.arange(d), coefficients.dtype)
    whole = jnp.einsum("oik,rck->oric", coefficients, picks, precision="highest")
    return whole.reshape(blocks * d, blocks * d).T


def by_fft(x: Float[Array, "*batch I"], coefficients: Coefficients) -> Float[Array, "*batch O"]:
    """x W without the matrix: a circulant product is a cyclic convolution, y_o = sum_i IFFT(FFT(c_oi) FFT(x_i))."""
    blocks, _, d = coefficients.shape
    parts = jnp.fft.rfft(x.reshape(*x.shape[:-1], blocks, d))
    y = jnp.fft.irfft(jnp.einsum("...if,oif->...of", parts, jnp.fft.rfft(coefficients)), d)
    return y.reshape(x.shape)
