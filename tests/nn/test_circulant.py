"""Block-circulant layers: the matrix, and the same product by Fourier transforms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.maths.circulant import by_fft, dense


@pytest.mark.parametrize(("blocks", "d"), [(1, 5), (2, 4), (4, 3)])
def test_entries_and_both_forms(blocks, d):
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(blocks, blocks, d)).astype(np.float32)
    matrix = np.asarray(dense(jnp.asarray(coefficients)))
    for o in range(blocks * d):
        for i in range(blocks * d):
            assert matrix[i, o] == coefficients[o // d, i // d, (o % d - i % d) % d]
    x = jnp.asarray(rng.normal(size=(2, 3, blocks * d)), jnp.float32)
    np.testing.assert_allclose(by_fft(x, jnp.asarray(coefficients)), x @ matrix, rtol=1e-4, atol=1e-4)
