"""How early a training may stop: the first epoch that ranks trainings nearly as their end does (FBNetV3, section 3.2).

A curve is the best validation accuracy so far after each epoch of a training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CORRELATION = 0.92
"""Rank correlation that is near enough."""
FEWEST = 4
"""Trainings below which a correlation says nothing."""
Curve = tuple[float, ...]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's; ties share their mean rank; 0 where one of them is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (a, b)]
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def stopping_epoch(curves: Sequence[Curve]) -> tuple[int | None, list[float]]:
    """The number of epochs after which later trainings stop, and the rank correlation after each epoch.

    None where they must run to their end: no earlier epoch ranks well enough, there are too few, or trainings have
    unequal numbers of epochs.
    """
    if len({len(curve) for curve in curves}) != 1 or len(curves) < FEWEST:
        return None, []
    last = [curve[-1] for curve in curves]
    found = [rank_correlation([c[epoch] for c in curves], last) for epoch in range(len(curves[0]))]
    early = next((n + 1 for n, value in enumerate(found[:-1]) if value >= CORRELATION), None)
    return early, found
