"""What a search is judged by, of a table of true accuracies: regret, rank, bands, chance, rank correlation.

Members are numbers from 0; `costs` and `accuracy` are [members], accuracies as shares of 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from part import FILL

Values = Float[np.ndarray, " members"]


class Truth(NamedTuple):
    """Every member of a space."""

    costs: Values
    accuracy: Values

    def within(self, limit: float) -> Bool[np.ndarray, " members"]:
        return self.costs <= limit

    def band(self, limit: float) -> Bool[np.ndarray, " members"]:
        """The members that compete under a budget: within it, and using at least `FILL` of it."""
        return self.within(limit) & (self.costs >= FILL * limit)

    def best(self, limit: float) -> float:
        """The best accuracy within the budget, whatever share of it is used."""
        return float(self.accuracy[self.within(limit)].max())

    def spread(self, limit: float) -> float:
        """Sample standard deviation of the band's accuracies."""
        return float(self.accuracy[self.band(limit)].std(ddof=1))

    def regret(self, limit: float, found: int) -> float:
        """The best accuracy within the budget minus that of member `found`; at least 0."""
        assert self.costs[found] <= limit, "a network above its budget"
        return self.best(limit) - float(self.accuracy[found])

    def rank(self, limit: float, found: int) -> int:
        """1 for the best within the budget: one more than there are better ones."""
        return 1 + int(np.sum(self.accuracy[self.within(limit)] > self.accuracy[found]))

    def chance(self, limit: float) -> float:
        """The mean regret of a member drawn evenly from the band."""
        return self.best(limit) - float(self.accuracy[self.band(limit)].mean())


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; equal values share the mean of their ranks. NaN where one of them is constant."""
    ranks = [_ranks(np.asarray(x, np.float64)) for x in (a, b)]
    if min(r.std() for r in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def noise(accuracies: list[list[float]]) -> float:
    """Standard error of a member's mean over its trainings, pooled over all members; NaN with one training each."""
    several = [values for values in accuracies if len(values) > 1]
    if not several:
        return float("nan")
    within = np.mean([np.var(values, ddof=1) for values in several])
    return float(np.sqrt(within / np.mean([len(values) for values in several])))
