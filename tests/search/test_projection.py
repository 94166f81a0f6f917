"""The projection onto the budgets against bisection, and what it keeps where several constraints pull at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.nn.gates import Layout, probabilities
from dnas.search.projection import project, unconstrained
from dnas.space.quantity import Choice

LAYOUT = Layout((Choice("a", (0, 1)), Choice("b", (0, 1, 2)), Choice("c", (0, 1, 2, 3))))
REAL = LAYOUT.real


def drawn(seed: int, scale: float = 1.0) -> np.ndarray:
    return np.where(REAL, np.random.default_rng(seed).normal(0, scale, LAYOUT.shape), 0).astype(np.float32)


def costs(seed: int) -> np.ndarray:
    return np.where(REAL, np.random.default_rng(seed).uniform(0.1, 1, LAYOUT.shape), 0).astype(np.float32)


def projected(theta, constraints, equal, times=40):
    state = unconstrained(jnp.asarray(theta), len(equal))
    step = jax.jit(lambda state: project(LAYOUT, jnp.asarray(theta), state, constraints, np.array(equal)))
    for _ in range(times):
        state = step(state)
    return state, np.asarray(probabilities(LAYOUT, state.logits).values, np.float64)


def tilted(theta: np.ndarray, cost: np.ndarray, multiplier: float) -> np.ndarray:
    logits = np.where(REAL, theta.astype(float) - multiplier * cost, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def by_bisection(theta: np.ndarray, cost: np.ndarray, limit: float) -> np.ndarray:
    """The nearest distribution whose mean cost is `limit`, for a cost that is a sum over choices."""
    low, high = -1000.0, 1000.0
    for _ in range(200):
        middle = (low + high) / 2
        above = float(np.sum(tilted(theta, cost, middle) * cost)) > limit
        low, high = (middle, high) if above else (low, middle)
    return tilted(theta, cost, low)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.8))
def test_nearest_distribution_of_a_linear_cost(seed, share):
    theta, cost = drawn(seed), costs(seed + 1)
    least = sum(cost[n, : len(c)].min() for n, c in enumerate(LAYOUT.choices))
    most = sum(cost[n, : len(c)].max() for n, c in enumerate(LAYOUT.choices))
    limit = least + share * (most - least)
    _, q = projected(theta, lambda q: jnp.sum(q.values * cost, keepdims=True).reshape(1) - limit, [True])
    np.testing.assert_allclose(q, by_bisection(theta, cost, limit), atol=2e-3)


def test_what_keeps_its_limits_stays_as_it_is():
    theta, cost = drawn(3), costs(4)
    state, q = projected(theta, lambda q: jnp.sum(q.values * cost, keepdims=True).reshape(1) - 100, [False])
    np.testing.assert_allclose(q, probabilities(LAYOUT, jnp.asarray(theta)).values, atol=1e-6)
    assert float(state.multipliers[0]) == 0


@pytest.mark.parametrize("fill", [False, True])
def test_constraints_that_pull_alike_and_against_each_other(fill):
    """The two first are nearly one; the third limits the cheapest options."""
    theta, cost = drawn(5), costs(6)
    other = cost * np.float32(1.05)
    cheap = np.where(REAL, cost == np.where(REAL, cost, 9).min(-1, keepdims=True), 0) / len(cost)

    def constraints(q):
        means = [jnp.log(jnp.sum(q.values * c)) - jnp.log(1.5) for c in (cost, other)]
        return jnp.stack([*means, jnp.sum(q.values * cheap) - 0.7])

    state, q = projected(theta, constraints, [fill, fill, False], times=100)
    u = np.asarray(constraints(probabilities(LAYOUT, state.logits)))
    assert u.max() < 5e-3, (u, state)
    assert not fill or abs(max(u[:2])) < 5e-3, u
    assert np.all(np.asarray(state.multipliers)[[0, 2]] >= 0)


def test_constraints_that_contradict_each_other_stay_finite():
    theta, cost = drawn(9), costs(10)

    def constraints(q):
        mean = jnp.sum(q.values * cost)
        return jnp.stack([mean - 1.0, 1.5 - mean])

    state, q = projected(theta, constraints, [False, False], times=100)
    assert np.all(np.isfinite(q)) and np.max(np.abs(np.asarray(state.logits))) < 100


def test_a_decided_distribution_stays_finite():
    theta, cost = drawn(7, scale=60), costs(8)
    state, q = projected(theta, lambda q: jnp.sum(q.values * cost, keepdims=True).reshape(1) - 1.0, [True])
    assert np.all(np.isfinite(np.asarray(state.logits)[REAL])) and np.all(np.isfinite(q))


def test_nothing_to_project_where_there_is_no_choice():
    """As a plain network is, whose steps are measured beside a search's."""
    none = Layout(())
    theta = jnp.zeros(none.shape)
    found = project(none, theta, unconstrained(theta, 1), lambda gates: jnp.zeros(1), np.zeros(1, bool))
    assert found.logits.shape == none.shape and np.isfinite(found.multipliers).all()
