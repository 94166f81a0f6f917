"""Products of costs as arrays."""

from __future__ import annotations

from dnas.cost.factors import factored


def test_no_costs_and_costs_without_products():
    """A search without budgets has none."""
    for costs in ([], [()]):
        found = factored(costs)
        assert found.factors == [] and found.terms.shape == (0, 0) and len(found.owner) == len(found.coefficients) == 0
