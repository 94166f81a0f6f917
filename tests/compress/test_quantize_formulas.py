"""Formulas of quantisation against plain second ones and values by hand."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.maths.quantize import nuclear_norm, on_grid, pearson, ranking_loss, whole

DRAW = np.random.default_rng(0)


def by_numpy(y: np.ndarray, step: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.rint(y / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def test_values_by_hand():
    y = jnp.array([0.0, 0.24, 0.25, 0.26, 0.75, -0.75, 9.0, -9.0])
    assert whole(y, jnp.float32(0.5), 3).tolist() == [0, 0, 0, 1, 2, -2, 3, -4]
    assert on_grid(y, jnp.float32(0.5), 3).tolist() == [0, 0, 0, 0.5, 1, -1, 1.5, -2]


@pytest.mark.parametrize("bits", [2, 4, 8, 10])
def test_whole_numbers_are_those_of_numpy(bits):
    y, step = DRAW.normal(size=(50, 6)).astype(np.float32), DRAW.uniform(0.01, 0.3, 6).astype(np.float32)
    np.testing.assert_array_equal(whole(y, step, bits), by_numpy(y, step, bits))


def test_gradients_pass_within_the_bounds():
    found = jax.grad(lambda y: jnp.sum(on_grid(y, jnp.float32(0.5), 3)))(jnp.array([0.3, -1.9, 1.6, -2.1]))
    assert found.tolist() == [1, 1, 0, 0]


def test_correlation():
    a, b = DRAW.normal(size=(3, 4, 5)), DRAW.normal(size=(3, 4, 5))
    wanted = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(pearson(a, b), wanted, rtol=1e-5)
    np.testing.assert_allclose(pearson(a, 3 * a + 1), 1, rtol=1e-5)
    assert pearson(a, jnp.zeros_like(a)).tolist() == [0, 0, 0]


def test_ranking_loss():
    before, after = DRAW.normal(size=(2, 3, 5)), DRAW.normal(size=(2, 3, 5))
    pairs = [pair for pair in itertools.combinations(range(5), 2)]
    wanted = [
        np.mean(
            [max(0, 0.2 - (q[i] - q[j]) * np.sign(p[i] - p[j])) for p, q in zip(*both, strict=True) for i, j in pairs]
        )
        for both in zip(before, after, strict=True)
    ]
    first, second = (jnp.array(side) for side in zip(*pairs, strict=True))
    np.testing.assert_allclose(ranking_loss(before, after, (first, second)), wanted, rtol=1e-5)
    # Two scores 1 apart keep their order, are turned round, become equal; equal ones have no order.
    at = (jnp.array([0]), jnp.array([1]))
    scores = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])[:, None]
    after = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])[:, None]
    np.testing.assert_allclose(ranking_loss(scores, after, at), [0, 1.2, 0.2, 0], rtol=1e-6)


def test_nuclear_norm():
    x = DRAW.normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(nuclear_norm(x), np.linalg.svd(x, compute_uv=False).sum((1, 2)), rtol=1e-5)
    assert float(nuclear_norm(jnp.array([[[3.0, 0.0], [0.0, -4.0]]]))[0]) == pytest.approx(7)
