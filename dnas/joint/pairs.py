"""Pairs of an architecture and a recipe: rows of option indices, the space's choices first, then the recipe's.

Budgets and constraints are of the architecture alone. A choice on which nothing depends in a network has its first
option, so that each pair has one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from dnas.cost import ledger
from dnas.errors import UserError
from dnas.graph import Graph
from dnas.search.budget import BudgetedCost
from dnas.search.sampling import Sampler
from dnas.solve.many import Costs, as_assignment
from dnas.space.quantity import Choice
from dnas.space.space import Space

Rows = Int[np.ndarray, "n genes"]
Row = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of a space and a space of recipes within budgets; without budgets all that the constraints allow."""

    space: Space
    walked: Graph
    recipe_choices: tuple[Choice, ...]
    budgets: tuple[BudgetedCost, ...] = ()
    fill: float = 0.0
    """Least share of one budget that a network uses."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """One a gene."""
        return (*self.space.choices, *self.recipe_choices)

    @property
    def split(self) -> int:
        """Genes of the architecture."""
        return len(self.space.choices)

    @cached_property
    def sizes(self) -> Int[np.ndarray, " genes"]:
        return np.array([len(c) for c in self.choices], int)

    @cached_property
    def sampler(self) -> Sampler:
        """Of the architectures within the budgets; raises `UserError` where there are none."""
        costs, limits = [m.cost for m in self.budgets], [m.budget.limit for m in self.budgets]
        found = Sampler(self.space, self.walked, costs, limits, self.fill)
        if found.note and self.fill:
            raise UserError(f"--fill {self.fill:g}: {found.note}")
        return found

    @cached_property
    def counts(self) -> Costs:
        """Multiply-adds and parameters of many networks."""
        return Costs([ledger.macs(self.walked.ledger), ledger.params(self.walked.ledger)], self.space.choices)

    def within(self, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Whether each architecture keeps the budgets and the constraints."""
        if not self.split:
            return np.ones(len(rows), bool)
        return self.sampler.within(rows[:, : self.split])

    def repaired(self, rows: Rows, order: Int[np.ndarray, "n genes"]) -> Rows:
        """The rows, those outside the budgets moved inside: gene by gene, in each row's own order, they take the option
        of a network that the solver knows to be inside."""
        rows, known = rows.copy(), self.sampler.known
        for step in range(self.split):
            left = np.flatnonzero(~self.within(rows))
            if not len(left):
                break
            column = order[left, step]
            rows[left, column] = known[column]
        return rows

    def spelled(self, rows: Rows) -> Rows:
        """The same pairs, of options that mean the same the first."""
        if not self.split or not len(rows):
            return rows
        own = self.sampler.spelled_rows(rows[:, : self.split])
        return np.concatenate([own, rows[:, self.split :]], axis=1)

    def costs(self, rows: Rows) -> Float[np.ndarray, "n 2"]:
        """Multiply-adds and parameters of each architecture."""
        return self.counts(rows[:, : self.split])

    def macs(self, row: Sequence[int]) -> float:
        """Multiply-adds of one architecture."""
        return float(self.costs(np.array([row], int))[0, 0])

    def architecture(self, row: Sequence[int]) -> dict[str, int]:
        """The architecture's part of an assignment."""
        return as_assignment(np.array(row[: self.split], int), self.space.choices)

    def recipe(self, row: Sequence[int]) -> dict[str, int]:
        """The recipe's part of an assignment."""
        return as_assignment(np.array(row[self.split :], int), self.recipe_choices)


def distinct(rows: Rows, known: Sequence[Row] | set[Row] = ()) -> list[Row]:
    """The rows that are not among those known, each once, in their order."""
    seen, found = set(known), []
    for row in map(tuple, rows.tolist()):
        if row not in seen:
            seen.add(row)
            found.append(row)
    return found
