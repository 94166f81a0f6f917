"""Budgets on a space: what its networks cost, from the smallest to the largest, and whether a limit can be met."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dnas.cost import ledger
from dnas.cost.budget import Budget
from dnas.cost.latency import Coverage, latency_cost
from dnas.cost.latency_table import read_table
from dnas.cost.ledger import Cost
from dnas.errors import InputError, UserError
from dnas.grammar.catalogue import find_table
from dnas.graph import Graph
from dnas.solve.constrained import feasible_together, largest, smallest
from dnas.solve.many import Constraints, Costs, as_options
from dnas.space.quantity import Assignment, Quantity, indicator
from dnas.space.space import Space


@dataclass(frozen=True, eq=False)
class BudgetedCost:
    """One budgeted cost of a space: the sum of products and its range."""

    budget: Budget
    cost: Cost
    smallest: float
    uniform: float
    largest: float
    coverage: Coverage | None = None
    """How much of a latency came from its table."""
    table_sha256: str = ""
    """Of the latency table's file."""

    def at(self, assignment: Assignment) -> float:
        """The cost of one architecture."""
        return ledger.at(self.cost, assignment)


def measure(budget: Budget, walked: Graph, space: Space) -> BudgetedCost:
    """The budgeted cost of a space and its smallest, uniform mean and largest value over all architectures.

    Raises `UserError` for a latency table that cannot be read or lacks a block kind of the space.
    """
    coverage, digest = None, ""
    if budget.kind == "ms":
        file = find_table(budget.table or "")
        found = latency_cost(space, read_table(file), network=walked)
        cost, coverage, digest = found.cost, found.coverage, hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        cost = ledger.COSTS[budget.kind](walked.ledger)
    low, _ = smallest(cost, space.constraints)
    high, _ = largest(cost, space.constraints)
    uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
    return BudgetedCost(budget, cost, low, float(ledger.mean(cost, uniform)), high, coverage, digest)


def check(measured: list[BudgetedCost], constraints: tuple[Quantity, ...]) -> None:
    """Raises `UserError` where a budget, or all of them together, cannot be met by any architecture."""
    for m in measured:
        if m.smallest > m.budget.limit:
            least = m.budget.shown(m.smallest)
            raise UserError(f"--budget {m.budget.text}: out of reach; the smallest network of the space has {least}")
    if (
        len(measured) > 1
        and feasible_together([m.cost for m in measured], [m.budget.limit for m in measured], constraints) is None
    ):
        names = " and ".join(m.budget.text for m in measured)
        raise UserError(f"--budget {names}: each can be met alone, but no network of the space meets them together")


def check_options(measured: Sequence[BudgetedCost], space: Space, names: Iterable[str]) -> None:
    """Raises `InputError` for an option of these choices, as far as the space has them, that no network within the
    budgets has."""
    costs, limits, asked = [m.cost for m in measured], [m.budget.limit for m in measured], set(names)
    known = feasible_together(costs, limits, space.constraints) or {}
    spent, allowed = Costs(costs, space.choices), Constraints(space.constraints, space.choices)
    base = as_options([{c.name: known.get(c.name, 0) for c in space.choices}], space.choices)[0]
    for column, choice in enumerate(space.choices):
        rows = np.repeat(base[None], len(choice), axis=0)
        rows[:, column] = np.arange(len(choice))
        seen = allowed(rows) & (spent(rows) <= np.array(limits)).all(axis=1)
        for n in np.flatnonzero(~seen) if choice.name in asked else ():  # the solver knows of the others
            having = (*space.constraints, indicator(choice, lambda i, n=n: i == n))
            if feasible_together(costs, limits, having) is None:
                within = " and ".join(m.budget.text for m in measured) or "the constraints"
                raise InputError(choice.name, f"no network with {choice.options[n]} is within {within}")
