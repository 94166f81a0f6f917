"""Costs and constraints of many architectures at once, in numpy: exact, and fast enough to sample millions.

Architectures are rows of option indices, [n, choices], in the order of the space's choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dnas.cost.factors import factored
from dnas.cost.ledger import Cost
from dnas.solve.elimination import elimination_order
from dnas.space.quantity import Assignment, Choice, Quantity

Options = Int[np.ndarray, "n choices"]


class Costs:
    """`costs(options)` [n, costs]: sums of products, exact where they are integers below 2^53."""

    def __init__(self, costs: Sequence[Cost], choices: Sequence[Choice]):
        factors, self.coefficients, self.owner, self.terms = factored(costs)
        self.count = len(costs)
        self._index(factors, {c.name: n for n, c in enumerate(choices)})

    def _index(self, tables: Sequence[Quantity], column: Mapping[str, int]) -> None:
        """All tables as one vector, and for each where it begins and how far a step of each of its choices goes."""
        axes = max((q.table.ndim for q in tables), default=1)
        self.columns = np.zeros((len(tables), axes), int)
        self.strides = np.zeros((len(tables), axes), int)
        self.starts = np.cumsum([0, *(q.table.size for q in tables)])[: len(tables)].astype(int)
        self.values = np.concatenate([np.zeros(0), *(q.table.reshape(-1).astype(np.float64) for q in tables)])
        for n, q in enumerate(tables):
            for axis, choice in enumerate(q.over):
                self.columns[n, axis] = column[choice.name]
                self.strides[n, axis] = int(np.prod(q.table.shape[axis + 1 :]))

    def __call__(self, options: Options) -> Float[np.ndarray, "n costs"]:
        at = np.broadcast_to(self.starts, (len(options), len(self.starts)))
        for columns, strides in zip(self.columns.T, self.strides.T, strict=True):
            at = at + options[:, columns] * strides
        factors = np.concatenate([self.values[at], np.ones((len(options), 1))], axis=1)
        values = np.broadcast_to(self.coefficients, (len(options), len(self.owner)))
        for term in self.terms.T:
            values = values * factors[:, term]
        result = np.zeros((len(options), self.count))
        for owner in range(self.count):
            result[:, owner] = values[:, self.owner == owner].sum(axis=1)
        return result


class Constraints:
    """`allowed(options)` [n]: whether every constraint holds.

    Constraints may mention states that are no choices of the space; they hold where some value of the states makes all
    of them non-zero. The states are eliminated one after the other, for all rows at once.
    """

    def __init__(self, constraints: Iterable[Quantity], choices: Sequence[Choice]):
        self.column = {c.name: n for n, c in enumerate(choices)}
        self.constraints = list(constraints)
        states = [tuple(c for c in q.over if c.name not in self.column) for q in self.constraints]
        self.order = elimination_order(states)

    def __call__(self, options: Options) -> Bool[np.ndarray, " n"]:
        result = np.ones(len(options), bool)
        factors: list[tuple[tuple[Choice, ...], np.ndarray]] = []
        for q in self.constraints:
            own = [c for c in q.over if c.name in self.column]
            states = tuple(c for c in q.over if c.name not in self.column)
            table = q.table_over((*own, *states)).astype(bool)
            picked = table[tuple(options[:, self.column[c.name]] for c in own)] if own else table[None]
            factors.append((states, np.broadcast_to(picked, (len(options), *table.shape[len(own) :]))))
        for state in self.order:
            mine = [f for f in factors if state in f[0]]
            factors = [f for f in factors if state not in f[0]]
            rest = tuple(dict.fromkeys(c for over, _ in mine for c in over if c != state))
            joint = np.asarray(True)
            for over, table in mine:
                joint = joint & _spread(over, table, (*rest, state))
            factors.append((rest, np.any(joint, axis=-1)))
        for _, table in factors:
            result &= table
        return result


def _spread(over: tuple[Choice, ...], table: np.ndarray, wanted: tuple[Choice, ...]) -> np.ndarray:
    """A table [n, *over] with its axes as in `wanted`, of length 1 where it does not depend on one."""
    order = sorted(range(len(over)), key=lambda axis: wanted.index(over[axis]))
    table = table.transpose(0, *(1 + axis for axis in order))
    return table.reshape(len(table), *(len(c) if c in over else 1 for c in wanted))


def as_options(assignments: Sequence[Assignment], choices: Sequence[Choice]) -> Options:
    """Assignments as rows."""
    return np.array([[a[c.name] for c in choices] for a in assignments], int).reshape(len(assignments), len(choices))


def as_assignment(row: Int[np.ndarray, " choices"], choices: Sequence[Choice]) -> dict[str, int]:
    """A row as an assignment."""
    return {c.name: int(option) for c, option in zip(choices, row, strict=True)}
