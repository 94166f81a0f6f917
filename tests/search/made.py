"""A space that is small enough to look at every network, and accuracies that are a made function of the genes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from dnas.cost.budget import parse_budget
from dnas.data import synthetic
from dnas.grammar.read import space_from_data
from dnas.learning.course import State
from dnas.search.candidates import CandidateScores
from dnas.search.generations import Evolution
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import Settings
from dnas.solve.many import Costs, as_options

Accuracy = Callable[[np.ndarray], np.ndarray]
"""Of networks as rows of option indices, [n, choices] -> [n]."""


def space():
    """A width, a depth, and heads and MLP ratio block by block: 22,113 networks."""
    block = {"heads": {"choices": [1, 2, 3]}, "head_width": 8, "expand": {"choices": [1, 2, 3]}}
    data = {
        "name": "made",
        "input": {"channels": 1, "classes": 2, "resolution": 16},
        "choices": {"width": {"range": [16, 48, 16]}},
        "trunk": [
            {"patch_embed": {"out": "$width", "kernel": 4}},
            {"tokens": {}},
            {"transformer": {"repeat": {"range": [2, 4, 1]}, **block}},
        ],
        "head": [{"token_head": {"out": "$classes"}}],
    }
    return space_from_data(data, "made")


@functools.cache
def problem_of(budget: str, settings: Settings) -> Problem:
    return make_problem(space(), [parse_budget(budget)], synthetic.needs_large_kernel(0), settings, 0)


def made_accuracy(problem: Problem, seed: int) -> Accuracy:
    """Between 0 and 1: each block that exists adds what its own genes are worth, and what they are worth beside those
    of the block before it; the width and the depth add theirs together. No size is better for being larger."""
    random = np.random.default_rng([seed, 99])
    own, beside, whole = random.random((4, 3, 3)), random.random((3, 3, 3)), random.random((3, 3))
    column = {c.name: n for n, c in enumerate(problem.space.choices)}

    def accuracy(rows: np.ndarray) -> np.ndarray:
        width, more = rows[:, column["width"]], rows[:, column["trunk.2.repeat"]]
        heads, ratios = (
            np.stack([rows[:, column[f"trunk.2.{n}.{name}"]] for n in range(4)], 1) for name in ("heads", "expand")
        )
        exists = np.arange(4) < 2 + more[:, None]
        blocks = (own[np.arange(4), heads, ratios] * exists).sum(1) / exists.sum(1)
        pairs = (beside[np.arange(3), heads[:, :-1], heads[:, 1:]] * exists[:, 1:]).sum(1) / exists[:, 1:].sum(1)
        return (blocks + pairs + whole[width, more]) / 3

    return accuracy


def best_of_all(problem: Problem, accuracy: Accuracy) -> float:
    """Of every network of the space within the budgets."""
    choices = problem.space.choices
    options = np.indices([len(c) for c in choices]).reshape(len(choices), -1).T
    spent = Costs([m.cost for m in problem.measured], choices)(options)
    return float(accuracy(options[np.all(spent <= problem.limits.astype(np.float64), axis=1)]).max())


def evolved(problem: Problem, accuracy: Accuracy) -> State:
    """The state after all generations, whose evaluation is the function; each network must keep the budgets."""

    def score(state: State, networks: list[dict[str, int]]) -> CandidateScores:
        for network in networks:
            assert all(m.at(network) <= m.budget.limit for m in problem.measured)
        found = accuracy(as_options(networks, problem.space.choices))
        return CandidateScores(found, 1 - found)

    phase, state = Evolution(problem, score).phase(), State(None, {})
    for n in range(phase.steps):
        state, _ = phase.step(state, n)
    return state


def rows(problem: Problem, *networks: dict[str, int]) -> np.ndarray:
    """As rows of option indices; a choice that is not named takes its first option."""
    first = {c.name: 0 for c in problem.space.choices}
    return as_options([first | network for network in networks], problem.space.choices)
