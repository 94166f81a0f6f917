"""A constrained problem as plain tables: one score and several costs, each a sum of factors.

Constraints become -inf scores, each `Product` of a cost becomes one table over its choices, and tables over the same
choices are added up once. `Limits` states what is asked of the costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dnas.solve.elimination import Factor, Over, log_indicator
from dnas.space.quantity import Assignment, Choice, Product, Quantity, shape_of, union

Cost = Sequence[Product]
"""A sum of products of quantities: multiply-adds, parameters, milliseconds."""


class Limits(NamedTuple):
    """What each cost must obey, in its own unit: lower <= cost <= upper (infinite where a side is free)."""

    lower: np.ndarray
    upper: np.ndarray

    @property
    def unit(self) -> np.ndarray:
        """A positive size of each cost, to compare costs of different units."""
        size = np.where(np.isfinite(self.upper), self.upper, self.lower)
        return np.where(np.isfinite(size) & (size > 0), size, 1.0)

    def allow(self, costs: Sequence[float]) -> bool:
        """Exact comparison, without tolerance."""
        return all(lo <= c <= up for lo, c, up in zip(self.lower.tolist(), costs, self.upper.tolist(), strict=True))


class Model(NamedTuple):
    """Score factors (constraints included, as -inf), and the factors of each cost."""

    choices: Over
    scores: list[Factor]
    costs: list[list[Factor]]

    def scopes(self) -> list[Over]:
        return list(dict.fromkeys(over for terms in (self.scores, *self.costs) for over, _ in terms if over))

    def fix(self, assignment: Assignment) -> Model:
        """The problem that is left when some choices are decided."""
        left = tuple(c for c in self.choices if c.name not in assignment)
        return Model(left, _fix(self.scores, assignment), [_fix(terms, assignment) for terms in self.costs])


def build(scores: Iterable[Quantity], costs: Iterable[Cost], constraints: Iterable[Quantity] = ()) -> Model:
    """The tables of a problem; constants stay, as factors over no choice."""
    score_terms = [(q.over, q.table.astype(np.float64)) for q in scores] + [log_indicator(q) for q in constraints]
    cost_terms = [[product_table(p) for p in cost] for cost in costs]
    everything = [Quantity(over, table) for terms in (score_terms, *cost_terms) for over, table in terms]
    choices = union(everything)
    rank = {c: i for i, c in enumerate(choices)}
    return Model(choices, _collect(score_terms, rank), [_collect(terms, rank) for terms in cost_terms])


def product_table(product: Product) -> Factor:
    """A product as one float64 table (integers below 2^53 stay exact)."""
    over = product.over
    table = np.ones(shape_of(over))
    for factor in product.factors:
        table = table * factor.table_over(over).astype(np.float64)
    return over, table


def total(cost: Cost, assignment: Assignment) -> float:
    """The exact value of a cost: Python integers stay integers."""
    value: Any = sum(p.at(assignment) for p in cost)
    return value


def _collect(terms: Iterable[Factor], rank: dict[Choice, int]) -> list[Factor]:
    merged: dict[Over, np.ndarray] = {}
    for over, table in terms:
        ordered = tuple(sorted(over, key=rank.__getitem__))
        aligned = Quantity(over, table).table_over(ordered)
        merged[ordered] = merged[ordered] + aligned if ordered in merged else aligned
    return list(merged.items())


def _fix(terms: list[Factor], assignment: Assignment) -> list[Factor]:
    fixed = [Quantity(over, table).fix(assignment) for over, table in terms]
    return [(q.over, q.table) for q in fixed]
