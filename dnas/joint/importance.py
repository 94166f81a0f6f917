"""Which fields matter: by how much accuracy is expected to vary with each choice alone, all others as they are.

The share of a choice is its total Sobol index by the predictor (Jansen 1999): half the mean square of the change where
this choice alone is as in another pair, over the variance. Shares of choices that act together add up to more than 1.
The spread over the ensemble is the uncertainty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dnas.joint.pairs import Pairs, Row
from dnas.joint.predictor import Fitted


class Importance(NamedTuple):
    """Of one choice."""

    name: str
    share: float
    error: float
    """Standard deviation over the members of the ensemble."""


def importances(pairs: Pairs, fitted: Fitted, sample: list[Row], seed: int) -> list[Importance]:
    """Of every choice, the one that matters most first; `sample` are pairs spread evenly."""
    rows = np.array(sample, int).reshape(len(sample), len(pairs.sizes))
    random, before = np.random.default_rng([seed, 5]), fitted.predict(rows)
    variance = np.maximum(before.var(axis=1), 1e-12)
    found = []
    for column, choice in enumerate(pairs.choices):
        changed = rows.copy()
        changed[:, column] = random.permutation(rows[:, column])
        shares = _half_square(fitted.predict(changed) - before) / variance
        found.append(Importance(choice.name, float(shares.mean()), float(shares.std())))
    return sorted(found, key=lambda one: -one.share)


def _half_square(change: Float[np.ndarray, "members n"]) -> Float[np.ndarray, " members"]:
    return np.square(change).mean(axis=1) / 2
