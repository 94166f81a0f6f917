"""Candidates of quasi Monte Carlo: within the budgets, and more even than random ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from dnas.grammar.catalogue import load_space
from dnas.graph.architecture import architecture
from dnas.joint.pool import points, pool
from dnas.solve.relevance import canonical
from tests.joint.made import SPACE, pairs_of


@pytest.mark.parametrize("budget", [None, "60kMACs", "8kMACs", "2.5kMACs"])
def test_every_candidate_is_within_the_budget_and_there_once(budget):
    pairs = pairs_of(budget=budget)
    found = pool(pairs, 300, 0)
    assert len(found) == len(set(found)) == 300
    for row in found:
        for m in pairs.budgets:
            assert m.at(pairs.architecture(row)) <= m.budget.limit
    assert found == pool(pairs, 300, 0) and found[:20] == pool(pairs, 20, 0) and found != pool(pairs, 300, 1)


def test_where_almost_none_is_within_candidates_are_moved_inside():
    pairs = pairs_of(load_space("fashion"), (), "0.9MMACs")
    found = np.array(pool(pairs, 64, 0))
    assert len(found) == 64 and pairs.within(found).all()


def test_the_points_are_more_even_than_random_ones():
    even = [qmc.discrepancy(points(6, seed, 256)) for seed in range(5)]
    drawn = [qmc.discrepancy(np.random.default_rng(seed).random((256, 6))) for seed in range(20)]
    assert max(even) < min(drawn)


def test_the_candidates_are_more_even_than_random_ones_among_those_within_the_budget():
    """How far shares of options, one by one and in pairs, are from those among all pairs within."""
    pairs = pairs_of()
    every = np.indices(tuple(pairs.sizes)).reshape(len(pairs.sizes), -1).T
    every = every[pairs.within(every)]

    def uneven(rows):
        total = 0.0
        for a in range(len(pairs.sizes)):
            for b in range(a + 1):
                shares = [np.histogram2d(r[:, a], r[:, b], bins=(np.arange(10), np.arange(10)))[0] / len(r)
                          for r in (rows, every)]  # fmt: skip
                total += np.square(shares[0] - shares[1]).sum()
        return total

    even = [uneven(np.array(pool(pairs, 256, seed))) for seed in range(4)]
    drawn = [uneven(np.random.default_rng(seed).permutation(every)[:256]) for seed in range(12)]
    assert np.mean(even) < 0.9 * np.mean(drawn)


def test_many_rows_are_spelled_as_one_by_one():
    pairs = pairs_of(load_space("tiny"), (), None)
    rows = np.random.default_rng(0).integers(0, pairs.sizes, (100, len(pairs.sizes)))
    single = [canonical(pairs.sampler.first, pairs.architecture(row)) for row in rows]
    assert pairs.spelled(rows).tolist() == [list(a.values()) for a in single]


def test_an_architecture_without_choices_has_recipes_within_a_budget():
    fixed = architecture(SPACE, {c.name: 0 for c in SPACE.choices}).network
    found = pool(pairs_of(fixed), 1000, 0)
    assert len(found) == 9 * 5 * 2  # every recipe
    assert pairs_of(fixed).within(np.array(found)).all()
