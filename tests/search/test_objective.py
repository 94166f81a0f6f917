"""The loss of theta against values by hand."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import pytest

from dnas.search.objective import combine, scaled

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
