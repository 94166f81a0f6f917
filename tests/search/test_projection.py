"""The projection onto the budgets against bisection, and what it keeps where several constraints pull at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.grammar.catalogue import load_space
from dnas.nn.gates import Layout, probabilities
from dnas.search.problem import make_problem
from dnas.search.projection import MOST_NATS, project, unconstrained
from dnas.search.settings import Settings
from dnas.search.start import first_theta
from dnas.search.theta import projecting
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


@pytest.mark.parametrize("theta_seed", range(4))
@pytest.mark.parametrize("share", [0.05, 0.2, 0.8])
def test_a_cost_of_products_is_pushed_up_to_its_limit_and_stays_there(theta_seed, share):
    """As a block's cost is a product of widths: what makes it rise makes its slopes steeper, and logits jumped."""
    theta, cost = drawn(theta_seed, scale=3), [np.where(row, c, 0) for row, c in zip(REAL, 10 * costs(1), strict=True)]

    def constraints(q):
        mean = jnp.prod(jnp.stack([jnp.sum(q.values[n] * c) for n, c in enumerate(cost)]))
        return (jnp.log(mean) - jnp.log(limit)).reshape(1)

    least, most = (np.prod([f(c[c > 0]) for c in cost]) for f in (np.min, np.max))
    limit = least * (most / least) ** share
    state, seen = unconstrained(jnp.asarray(theta), 1), []
    step = jax.jit(lambda state: project(LAYOUT, jnp.asarray(theta), state, constraints, np.array([True])))
    for n in range(60):
        state = step(state)
        seen += [float(constraints(probabilities(LAYOUT, state.logits))[0])] if n >= 40 else []
    assert np.abs(seen).max() < 0.02, seen


@pytest.mark.parametrize("text", ["60MFLOPs", "120MFLOPs", "200MFLOPs"])
def test_the_mean_cost_of_the_main_space_is_its_budget_wherever_theta_stands(text):
    """With the guard against skips as well. The mean went to and fro between 83 and 214 MFLOPs for 200."""
    problem = make_problem(load_space("fbnetv2"), [parse_budget(text)], load(None), Settings(), 0)
    step, layout = jax.jit(projecting(problem)), problem.layout
    for scale in (0, 2, 4, 16):
        noise = scale * jax.random.normal(jax.random.key(0), layout.shape)
        theta = jnp.where(jnp.asarray(layout.real), first_theta(layout, None) + noise, 0)
        state, seen = unconstrained(theta, 2), []
        for n in range(60):
            state, told = step(theta, state, problem.limits)
            seen += [float(told["expected"][0]) / problem.measured[0].budget.limit] if n >= 50 else []
        assert np.ptp(seen) < 0.02 and abs(seen[-1] - 1) < 0.02, (scale, seen)


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

    state, q = projected(theta, constraints, [False, False], times=1000)
    assert np.all(np.isfinite(q)) and np.max(np.abs(np.asarray(state.logits))) < 3 * MOST_NATS


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
