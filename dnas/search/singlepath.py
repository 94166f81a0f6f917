"""Networks drawn evenly, and what the searches that sample networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dnas.errors import UserError
from dnas.learning.course import Metrics, State
from dnas.search.candidates import compare
from dnas.search.compiling import Program
from dnas.search.descent import Weights, fresh, optimizer, planned
from dnas.search.problem import Problem
from dnas.search.sampling import Sampler
from dnas.search.start import refuse
from dnas.search.verdict import random_networks
from dnas.solve.elimination import Draws
from dnas.solve.many import Costs, as_assignment

PATHS, SAMPLES, CHILDREN, SPACES = 0, 1, 2, 6
"""What random numbers are drawn for: the second part of a key, after the seed."""
MET = 100
"""Networks compared whose options are recorded, at most, beside the best one."""


def check(problem: Problem, name: str) -> None:
    """Raises `UserError` for a family of budgets or a start: these searches draw evenly, for one set of budgets."""
    refuse(problem, name)
    if problem.family:
        raise UserError(
            f"--family: --strategy {name} searches for one set of budgets; use dmasking, slimming or sandwich"
        )


def start(problem: Problem) -> Weights:
    """Fresh weights, and the optimiser's state."""
    return fresh(problem, optimizer(problem.settings, planned(problem)))


class Paths:
    """One network for each number: of all joint options that the constraints allow, each as probable as any other."""

    def __init__(self, problem: Problem):
        self.choices, self.seed = problem.space.choices, problem.seed
        self.sizes = np.array([len(c) for c in self.choices], int)
        self.tied = Draws(problem.space.constraints)

    def __call__(self, n: int, stream: int = 0) -> dict[str, int]:
        random = np.random.default_rng([self.seed, PATHS, stream, n])
        free = as_assignment(random.integers(0, self.sizes), self.choices)
        tied = self.tied.draw(random)
        return {name: tied.get(name, option) for name, option in free.items()}


def sampler(problem: Problem, count: int = 1) -> Sampler:
    """Draws evenly within the problem's budgets, from at least `count` networks where no fill was asked for."""
    costs, limits = [m.cost for m in problem.measured], [m.budget.limit for m in problem.measured]
    enough = count if problem.settings.fill is None else 1
    return Sampler(problem.space, problem.walked, costs, limits, problem.settings.aim, enough)


def assignments(problem: Problem, rows: Sequence[Sequence[int]]) -> list[dict[str, int]]:
    """Rows of option indices, as notes hold them, by name."""
    return [as_assignment(np.array(row, int), problem.space.choices) for row in rows]


def compared(
    problem: Problem, program: Program, state: State, part: Sequence[Sequence[int]]
) -> tuple[State, Metrics]:  # fmt: skip
    """The state with the scores of some more networks, given as rows of option indices."""
    found = compare(program, problem, state.arrays.variables, assignments(problem, part))
    more = zip(found.accuracy.tolist(), found.loss.tolist(), strict=True)
    scores = [*state.notes["scores"], *map(list, more)]
    return state._replace(notes={**state.notes, "scores": scores}), {"compared": len(scores), "best": best(scores)[1]}


def best(scores: Sequence[Sequence[float]]) -> tuple[int, float]:
    """Position and accuracy of the best of (accuracy, loss): ties go to the smaller loss, then to the first."""
    index = min(range(len(scores)), key=lambda n: (-scores[n][0], scores[n][1], n))
    return index, scores[index][0]


def summary(
    problem: Problem, rows: Sequence[Sequence[int]], scores: Sequence[Sequence[float]], drawn: int
) -> dict[str, Any]:
    """What is recorded of the networks compared, given as rows of option indices; the first `drawn` were drawn evenly
    within the budgets."""
    accuracies = [accuracy for accuracy, _ in scores[:drawn]]
    found = {"compared": len(scores), "share_accuracy": best(scores)[1]}
    found["random_networks"] = random_networks(accuracies)
    return found | {"met": _met(problem, rows, scores, drawn)}


def _met(
    problem: Problem, rows: Sequence[Sequence[int]], scores: Sequence[Sequence[float]], drawn: int
) -> dict[str, Any]:
    """Up to `MET` of the networks compared, evenly among all, and the best one, in the order in which they were met.

    A text an architecture, of its option indices; costs a budget each; `drawn` counts those drawn evenly.
    """
    kept = sorted({*np.linspace(0, len(scores) - 1, MET).astype(int).tolist(), best(scores)[0]})
    costs = Costs([m.cost for m in problem.measured], problem.space.choices)(np.array([rows[n] for n in kept], int))
    return {
        "options": [" ".join(map(str, rows[n])) for n in kept],
        "accuracy": [round(scores[n][0], 6) for n in kept],
        "costs": {m.budget.text: costs[:, n].round(6).tolist() for n, m in enumerate(problem.measured)},
        "drawn": sum(n < drawn for n in kept),
    }
