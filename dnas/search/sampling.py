"""Architectures drawn evenly among those within the budgets.

Those of a small space are listed, and drawn from the list. Of a larger one tight budgets leave so few that drawing
until one fits never ends, and drawing each choice from tilted probabilities does not draw evenly. So many Metropolis
chains run side by side, one for each architecture asked for: each begins anywhere, redraws one to three choices at a
time, and is pulled into the budgets by a steep penalty outside them. Inside there is none, so each architecture is as
probable as any other there: choices that do not matter (inside a block that is skipped) do not make theirs more
probable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from dnas.cost.ledger import Cost
from dnas.graph import Graph
from dnas.solve.derive import derive
from dnas.solve.many import Constraints, Costs, as_assignment, as_options
from dnas.solve.relevance import canonical, first_of_same, is_first
from dnas.space.quantity import Product, Quantity
from dnas.space.space import Space

STEEPNESS = 150.0
"""Penalty, in nats, of a cost outside its budget by a factor of e."""
SWEEPS = 40
"""Redraws of each choice, in the mean."""
FORBIDDEN = 1e4
"""Penalty, in nats, of a network that the constraints forbid: no chain stays there."""
COUNTED = 200_000
"""Joint options of a space whose architectures are listed one by one."""
AT_ONCE = 10_000
"""Joint options whose costs are computed together, for the sake of memory."""
ATTEMPTS = 3
"""Rounds of chains to make up for those that met or did not arrive."""


class Sampler:
    """Draws architectures of a space with every cost within its limit and one at least `fill` of it.

    `note` says so where the space has none that fills a budget; draws are then within the limits alone. Where fewer
    than `enough` fill one, which a small space alone can have, the fill is lowered until so many do. With `by_options`
    every option is as probable as any other, and so every spelling of an architecture: shallow networks, of which there
    are few, are then as frequent as deep ones. Raises `UserError` where the limits cannot be met.
    """

    def __init__(
        self, space: Space, walked: Graph, costs: Sequence[Cost], limits: Sequence[float], fill: float, enough: int = 1,
        by_options: bool = False,
    ):  # fmt: skip
        self.choices, self.by_options = space.choices, by_options
        self.sizes = np.array([len(c) for c in space.choices])
        self.column = {c: n for n, c in enumerate(space.choices)}
        self.limits = np.array(limits, np.float64)
        even = {c.name: np.zeros(len(c)) for c in space.choices}
        known = derive(space, walked, even, costs, limits, fill=fill)
        self.known = as_options([known.assignment | _idle(space, known.assignment)], space.choices)[0]
        self.note, self.fill = known.note, fill if known.filled else 0.0
        self.costs = Costs(costs, space.choices)
        self.allowed = Constraints(space.constraints, space.choices)
        self.first = first_of_same(space, walked)
        self.spellings = Costs([tuple(_spellings(first) for first in self.first.values())], space.choices)
        self.listed = None
        joint = math.prod(self.sizes.tolist())
        if joint <= COUNTED and not by_options:
            options, shares = self._fitting(np.indices(tuple(self.sizes.tolist())).reshape(len(self.sizes), joint).T)
            if fill and enough > 1:
                self._lower(fill, enough, shares)
            self.listed = options[shares >= self.fill]

    def _fitting(
        self, options: Int[np.ndarray, "n choices"]
    ) -> tuple[Int[np.ndarray, "fitting choices"], Float[np.ndarray, " fitting"]]:
        """Of all options the architectures within the limits, each once, and the largest share of a limit that each
        uses, largest first; 1 without limits."""
        options = options[
            self.allowed(options) & Constraints(map(is_first, self.first.values()), self.choices)(options)
        ]
        parts = np.split(options, range(AT_ONCE, len(options), AT_ONCE))
        least = 0 if len(self.limits) else 1
        shares = np.concatenate([(self.costs(part) / self.limits).max(axis=1, initial=least) for part in parts])
        order = np.argsort(-shares, kind="stable")
        order = order[shares[order] <= 1]
        return options[order], shares[order]

    def _lower(self, asked: float, enough: int, shares: Float[np.ndarray, " n"]) -> None:
        """Lowers the fill from what was asked for until so many architectures of the space use it, or all that fit."""
        self.fill = min(asked, float(shares[min(enough, len(shares)) - 1]) * (1 - 1e-12))  # the last one is within
        if self.fill < asked and not self.note:
            have = int(np.searchsorted(-shares, -asked, side="right"))
            self.note = f"{have} networks of the space use {asked:.0%} of a budget: draws use {self.fill:.0%} and more"

    def within(self, options: Int[np.ndarray, "n choices"]) -> np.ndarray:
        """[n]: whether each keeps the limits, the fill and the constraints."""
        return (self._distance(options) <= 0) & self.allowed(options)

    def draw(self, count: int, key: Sequence[int]) -> list[dict[str, int]]:
        """Up to `count` different architectures, fewer where few are within the budgets; the same key gives the same.

        There is always one: where no chain arrives, the one that the solver knows.
        """
        if self.listed is not None:
            chosen = np.random.default_rng([*key, 0]).permutation(len(self.listed))[:count]
            return [as_assignment(row, self.choices) for row in self.listed[chosen]]
        drawn: dict[tuple[int, ...], dict[str, int]] = {}
        for attempt in range(ATTEMPTS):
            for row in self._chains(count, np.random.default_rng([*key, attempt])):
                spelled = self.spelled(as_assignment(row, self.choices))
                drawn.setdefault(tuple(spelled.values()), spelled)
            if len(drawn) >= count:
                break
        return list(drawn.values())[:count]

    def spelled(self, assignment: dict[str, int]) -> dict[str, int]:
        """The same architecture with the first option of each choice among those that mean the same."""
        return canonical(self.first, assignment)

    def spelled_row(self, row: Int[np.ndarray, " choices"]) -> Int[np.ndarray, " choices"]:
        """`spelled` of a row of option indices."""
        return self.spelled_rows(row[None])[0]

    def spelled_rows(self, rows: Int[np.ndarray, "n choices"]) -> Int[np.ndarray, "n choices"]:
        """`spelled` of many rows."""
        rows, before = rows.copy(), np.full_like(rows, -1)
        while (before != rows).any():
            before = rows.copy()
            for column, choice in enumerate(self.choices):
                first = self.first[choice.name]
                rows[:, column] = first.table[tuple(rows[:, self.column[c]] for c in first.over)]
        return rows

    def _chains(self, count: int, random: np.random.Generator) -> Int[np.ndarray, "count choices"]:
        """The ends of `count` chains, those that arrived within the budgets."""
        rows, each = len(self.choices), np.arange(count)
        options = random.integers(0, self.sizes, (count, rows))
        energy = self._energy(options)
        if not rows:
            return options
        for _ in range(SWEEPS * rows):
            changed = options.copy()
            for _ in range(random.integers(1, 4)):
                column = random.integers(0, rows, count)
                changed[each, column] = random.integers(0, self.sizes[column])
            after = self._energy(changed)
            taken = np.log(random.random(count)) < energy - after
            options[taken], energy[taken] = changed[taken], after[taken]
        arrived = options[self.within(options)]
        return arrived if len(arrived) else self.known[None]

    def _energy(self, options: Int[np.ndarray, "n choices"]) -> Float[np.ndarray, " n"]:
        """Minus the logarithm of what the chains visit: even inside the budgets, falling steeply outside."""
        outside = STEEPNESS * self._distance(options)
        spelled = 0.0 if self.by_options else self.spellings(options)[:, 0]
        return spelled + outside + FORBIDDEN * ~self.allowed(options)

    def _distance(self, options: Int[np.ndarray, "n choices"]) -> Float[np.ndarray, " n"]:
        """Logarithm of how far costs lie above their limits, or the fullest below the fill; 0 inside."""
        if not len(self.limits):
            return np.zeros(len(options))
        with np.errstate(divide="ignore"):
            shares = np.log(self.costs(options)) - np.log(self.limits)
        over = np.maximum(shares, 0).sum(axis=1)
        if self.fill <= 0:
            return over
        return over + np.maximum(np.log(self.fill) - shares.max(axis=1), 0)


def _spellings(first: Quantity) -> Product:
    """Logarithm of how many options mean the same as the one taken."""
    table = first.table
    same = (table[:, None] == table[None]).sum(axis=1)
    return Product(Quantity(first.over, np.log(same)))


def _idle(space: Space, assignment: dict[str, int]) -> dict[str, int]:
    """Choices on which nothing depends, at their first option."""
    return {c.name: 0 for c in space.choices if c.name not in assignment}
