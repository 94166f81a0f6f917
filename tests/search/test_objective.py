"""The loss of theta against values by hand, and the directions in which multipliers push."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.search.objective import FILLED, Multipliers, ascend, budget_term, combine, scaled, violations

FORMS = ("log_of_power", "power_of_log", "additive")


def test_values_by_hand():
    """CE = 2, LAT = e^2, alpha = 0.2, beta = 0.6."""
    two, latency = jnp.float32(2), jnp.exp(jnp.float32(2))
    assert float(combine(two, latency, "power_of_log", 0.2, 0.6)) == pytest.approx(2 * 0.2 * 2**0.6, rel=1e-6)
    assert float(combine(two, latency, "power_of_log", 0.2, 0.6)) == pytest.approx(0.6063, abs=5e-5)
    assert float(combine(two, latency, "log_of_power", 0.2, 0.6)) == pytest.approx(0.48, rel=1e-6)
    assert float(combine(two, latency, "additive", 0.2, 0.6)) == pytest.approx(2 + 0.24, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("latency", [0.1, 1.0, 10_000.0])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_loss_rises_with_latency_in_any_unit(form, latency, unit):
    smallest = 0.05 * unit

    def loss(value):
        return combine(jnp.float32(1.5), scaled(value, smallest), form, 0.2, 0.6)

    at = jnp.float32(latency * unit)
    value, slope = jax.value_and_grad(loss)(at)
    assert float(slope) > 0 and math.isfinite(float(slope))
    assert float(loss(at * 1.1)) > float(value) > 0
    # The unit drops out.
    same = combine(jnp.float32(1.5), scaled(jnp.float32(latency), 0.05), form, 0.2, 0.6)
    assert float(value) == pytest.approx(float(same), rel=1e-5)


def test_logarithm_is_at_least_one():
    for cost, smallest in itertools.product((0.0, 1e-3, 1.0), (0.0, 1.0, 1e9)):
        log = float(jnp.log(scaled(jnp.float32(cost), smallest)))
        assert log >= 1 - 1e-6 and math.isfinite(log)
    assert float(scaled(jnp.float32(7.0), 7.0)) == pytest.approx(math.e)


@pytest.mark.parametrize("fill", [False, True])
def test_multipliers_climb_towards_what_is_violated(fill):
    start = Multipliers(jnp.asarray([0.5, 0.5]), jnp.float32(0.5), jnp.float32(0.5))
    limits = jnp.asarray([100.0, 10.0])
    over = violations(jnp.asarray([150.0, 5.0]), limits)
    np.testing.assert_allclose(over, np.log([1.5, 0.5]), rtol=1e-5)
    after = ascend(over, jnp.float32(0.1), start, 0.1, fill)
    assert after.guard > 0.5 > ascend(over, jnp.float32(-0.1), start, 0.1, fill).guard
    assert after.down[0] > 0.5 > after.down[1]
    assert after.up < 0.5 if fill else after.up == 0.5  # one budget is used up: no push upwards
    unused = ascend(violations(jnp.asarray([50.0, 5.0]), limits), jnp.float32(0), start, 0.1, fill)
    assert np.all(np.asarray(unused.down) < 0.5) and (unused.up > 0.5 if fill else unused.up == 0.5)
    for u in (over, over - 20, over + 20):
        result = ascend(u, u[0], start, 1.0, fill)
        assert np.all(np.asarray(result.down) >= 0) and result.up >= 0 and result.guard >= 0


def test_budget_term_pushes_costs_to_their_budget():
    multipliers = Multipliers(jnp.asarray([1.0, 0.0]), jnp.float32(1.0), jnp.float32(0))

    def slope(*u, held=multipliers, fill=True):
        return np.asarray(jax.grad(lambda v: budget_term(v, held, 4.0, fill))(jnp.asarray(u)))

    none = Multipliers(jnp.zeros(2), jnp.float32(0), jnp.float32(0))
    assert slope(0.2, -1.0, fill=False)[0] > 0 and slope(0.2, -1.0, fill=False)[1] == 0
    assert slope(0.2, -1.0, held=none)[0] == pytest.approx(0.8, rel=1e-5)  # the violation itself: 4 * 0.2
    assert slope(-1.0, -0.5, held=none)[1] < 0  # the budget nearest to its limit is filled
    assert slope(-1.0, -0.5, held=none)[0] == 0
    within = math.log(FILLED) + 0.005
    assert np.all(slope(within, -1.0, held=none) == 0)  # neither above nor unused
    for u in ((0.0, 0.0), (50.0, -50.0)):
        assert np.all(np.isfinite(slope(*u)))
