"""Evolution whose evaluation is a made function of the genes, against a look at every network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dnas.search.generations import apart
from dnas.search.settings import PRESETS, Settings

from .made import best_of_all, evolved, made_accuracy, problem_of

PAPER = PRESETS["paper"]
SEEDS = [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 20))]


def test_the_published_numbers():
    assert (PAPER.population, PAPER.generations, PAPER.parents, PAPER.children) == (50, 20, 10, (25, 25))
    assert (PAPER.mutation, PAPER.network_mutation, PAPER.attempts) == (0.2, 0.4, 10)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("budget", ["0.04Mparams", "0.6MFLOPs"])
def test_the_best_network_is_found(budget, seed):
    """Or one within 1 % of it."""
    problem = dataclasses.replace(problem_of(budget, PAPER), seed=seed)
    accuracy = made_accuracy(problem, seed)
    found = max(score for score, _ in evolved(problem, accuracy).notes["scores"])
    assert found >= 0.99 * best_of_all(problem, accuracy)


def test_parents_are_the_best_that_are_not_alike():
    rows = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1], [2, 2, 2]])
    assert apart(rows, 2, 1).tolist() == [[0, 0, 0], [0, 0, 1]]
    assert apart(rows, 2, 2).tolist() == [[0, 0, 0], [1, 1, 0]]
    assert apart(rows, 3, 2).tolist() == [[0, 0, 0], [1, 1, 0], [2, 2, 2]]
    assert apart(rows, 4, 3).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 1]]
    assert apart(rows, 9, 3).shape == (5, 3)


def test_each_network_is_compared_once():
    settings = Settings(population=12, generations=5, parents=4, fill=0)
    problem = problem_of("0.04Mparams", settings)
    seen = evolved(problem, made_accuracy(problem, 0)).notes["seen"]
    assert len(seen) == len({tuple(row) for row in seen}) == 60


@pytest.mark.parametrize("children", [(0, 0), (12, 0), (0, 12), (3, 2)])
def test_what_children_leave_missing_is_drawn(children):
    settings = Settings(population=12, generations=4, parents=4, mutations=children[0], crossovers=children[1], fill=0)
    problem = problem_of("0.04Mparams", settings)
    assert len(evolved(problem, made_accuracy(problem, 1)).notes["seen"]) == 48


def test_what_there_is_within_a_tight_budget_is_looked_through():
    """Five networks keep it, fewer than a generation has."""
    problem = problem_of("0.0036Mparams", Settings(population=16, generations=3, parents=4, fill=0))
    accuracy = made_accuracy(problem, 0)
    notes = evolved(problem, accuracy).notes
    assert len(notes["seen"]) == notes["drawn"] == 5
    assert max(score for score, _ in notes["scores"]) == best_of_all(problem, accuracy)


def test_generations_follow_from_the_seed():
    problem = problem_of("0.04Mparams", Settings(population=8, generations=3, parents=3))
    first, again = (evolved(problem, made_accuracy(problem, 0)).notes["seen"] for _ in range(2))
    other = evolved(dataclasses.replace(problem, seed=1), made_accuracy(problem, 0)).notes["seen"]
    np.testing.assert_array_equal(first, again)
    assert first != other
