"""Which fields matter: by how much accuracy is expected to vary with each choice alone, all others as they are.

The share of a choice is its total Sobol index by the predictor (Jansen 1999): half the mean square of the change where
this choice alone is as in another pair, over the variance. Every option is tried, and counts as often as it occurs:
drawn ones would be off where there are few pairs. Shares of choices that act together add up to more than 1.
The spread over the ensemble is the uncertainty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dnas.joint.pairs import Pairs, Row
from dnas.joint.predictor import Fitted


class Importance(NamedTuple):
    """Of one choice."""

    name: str
    share: float
    error: float
    """Standard deviation over the members of the ensemble."""


def importances(pairs: Pairs, fitted: Fitted, sample: list[Row]) -> list[Importance]:
    """Of every choice, the one that matters most first; `sample` are pairs spread evenly."""
    rows = np.array(sample, int).reshape(len(sample), len(pairs.sizes))
    before = fitted.predict(rows)
    variance = np.maximum(before.var(axis=1), 1e-12)
    found = []
    for column, choice in enumerate(pairs.choices):
        square = np.zeros_like(variance)
        for option, count in zip(*np.unique(rows[:, column], return_counts=True), strict=True):
            changed = rows.copy()
            changed[:, column] = option
            square += count / len(rows) * np.square(fitted.predict(changed) - before).mean(axis=1)
        shares = square / 2 / variance
        found.append(Importance(choice.name, float(shares.mean()), float(shares.std())))
    return sorted(found, key=lambda one: -one.share)
