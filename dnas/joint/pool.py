"""Candidates spread evenly over the pairs within the budgets: quasi Monte Carlo (scrambled Sobol points).

A point in the unit cube is a pair: a coordinate a gene, cut into as many equal parts as the gene has options. Points
outside the budgets are passed over while enough others come; where they are rare, they are moved inside
(`Pairs.repaired`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dnas.joint.pairs import Pairs, Row, Rows, distinct

AT_ONCE = 4096
"""Points looked at together: a power of two, which Sobol points need to be even."""
ROUNDS = 8
"""Times that so many are looked at before those outside the budgets are moved inside."""


def points(genes: int, seed: int, count: int) -> Float[np.ndarray, "count genes"]:
    """Scrambled Sobol points; the same seed gives the same ones, and more begin with fewer."""
    from scipy.stats import qmc

    if not genes:
        return np.zeros((count, 0))
    return qmc.Sobol(genes, scramble=True, rng=np.random.default_rng(seed)).random(count)


def pool(pairs: Pairs, count: int, seed: int) -> list[Row]:
    """Up to `count` different pairs within the budgets, spread evenly; fewer where there are no more.

    The first ones of a larger pool are the smaller pool.
    """
    drawn = points(len(pairs.sizes), seed, AT_ONCE * ROUNDS)
    rows = np.minimum((drawn * pairs.sizes).astype(int), pairs.sizes - 1)
    found: list[Row] = []
    known: set[Row] = set()
    for part in np.split(rows, ROUNDS):
        found += _new(pairs, part[pairs.within(part)], known)
        if len(found) >= count:
            return found[:count]
    outside = rows[:AT_ONCE][~pairs.within(rows[:AT_ONCE])]
    order = np.random.default_rng([seed, 1]).permuted(np.tile(np.arange(pairs.split), (len(outside), 1)), axis=1)
    found += _new(pairs, pairs.repaired(outside, order), known)
    return found[:count]


def _new(pairs: Pairs, rows: Rows, known: set[Row]) -> list[Row]:
    """Pairs that are not known, which become known."""
    found = distinct(pairs.spelled(rows), known)
    known.update(found)
    return found
