"""The networks that are worth a race: the most probable ones, some drawn from theta, known designs scaled to fit.

All keep every budget. The winner of the race (`dnas.search.race`) is then at least as good, by what the race can tell,
as what was known before the search.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dnas.search.problem import Problem
from dnas.solve.constrained import Solution
from dnas.solve.derive import derive, log_probabilities
from dnas.solve.elimination import Draws
from dnas.solve.many import Costs, as_assignment, as_options
from dnas.solve.nearest import scaled_designs
from dnas.solve.relevance import canonical, first_of_same, score_factors
from dnas.solve.several import most_probable_several
from dnas.space.quantity import Quantity

DESIGNS = 2
"""Published designs in a shortlist, at most."""
LIKE = 0.9
"""Least share of a budget that candidates use but the most probable one: networks of like cost can be compared after
few steps, while much smaller ones look good then because they learn fast."""
DRAWN = 4096
"""Networks drawn from theta, of which the first that keep the budgets are taken."""
SCALED = ", scaled"
"""How the origin of a published design ends."""
TINY = 1e-30
"""Of a probability whose logarithm is taken."""
SHORTLIST = 3
"""What random numbers are drawn for: the second part of a key, after the seed (`dnas.search.singlepath`)."""


class Candidate(NamedTuple):
    """A network of the space, and why it is a candidate."""

    assignment: dict[str, int]
    origin: str


def shortlist(problem: Problem, probabilities: Mapping[str, np.ndarray], count: int) -> list[Candidate]:
    """Up to `count` different networks within the budgets, the most probable one first.

    A sixth are known designs (at least one, at most `DESIGNS`), half of the rest the most probable, the others drawn.
    """
    first = first_of_same(problem.space, problem.walked)
    found: dict[tuple[int, ...], Candidate] = {}

    def take(candidates: Iterator[Candidate], most: int) -> None:
        for candidate in candidates:
            if len(found) >= most:
                return
            spelled = canonical(first, {c.name: 0 for c in problem.space.choices} | candidate.assignment)
            found.setdefault(tuple(spelled.values()), Candidate(spelled, candidate.origin))

    known = min(DESIGNS, max(1, count // 6)) if count > 1 else 0
    designs = list(itertools.islice(_published(problem), known))
    if problem.start is not None and known:
        designs = [Candidate(problem.start, f"the start{SCALED}"), *designs[: known - 1]]
    probable = max(1, (count - len(designs) + 1) // 2)
    take(_most_probable(problem, probabilities, probable), probable)
    take(iter(designs), probable + len(designs))
    take(_drawn(problem, probabilities), count)
    return list(found.values())


def _most_probable(problem: Problem, probabilities: Mapping[str, np.ndarray], count: int) -> Iterator[Candidate]:
    log_p = log_probabilities(probabilities)
    costs, limits = _budgets(problem)
    floor = problem.settings.floor
    if floor:
        first = derive(problem.space, problem.walked, log_p, costs, limits, fill=floor)
        # Where no network uses so much, the most probable of all within the budgets.
        yield Candidate(first.assignment, "most probable" + f" that uses {floor:.0%}" * first.filled)
    scores = score_factors(problem.space, log_p, problem.walked)

    def several(most: int, fill: float) -> list[Solution]:
        return most_probable_several(scores, costs, limits, most, fill=fill, constraints=problem.space.constraints)

    if not floor:
        yield Candidate(several(1, 0)[0].assignment, "most probable")
    alike = several(count, max(floor, LIKE)) or several(count, floor)
    for rank, found in enumerate(alike, 1):
        yield Candidate(found.assignment, f"probable, rank {rank}")


def _drawn(problem: Problem, probabilities: Mapping[str, np.ndarray]) -> Iterator[Candidate]:
    """Networks that the constraints allow, those of them within the budgets; first those that use most of one."""
    random = np.random.default_rng([problem.seed, SHORTLIST])
    choices = problem.space.choices
    columns = [random.choice(len(c), DRAWN, p=probabilities[c.name] / np.sum(probabilities[c.name])) for c in choices]
    log_p = [Quantity((c,), np.log(np.maximum(probabilities[c.name], TINY))) for c in choices]
    tied = Draws(problem.space.constraints, log_p).several(random, DRAWN)
    columns = [tied.get(c.name, column) for c, column in zip(choices, columns, strict=True)]
    options = np.stack(columns, axis=1) if columns else np.zeros((1, 0), int)
    costs, limits = _budgets(problem)
    spent = Costs(costs, choices)(options)
    used = _used(problem, spent)
    allowed = np.all(spent <= np.array(limits), axis=1) & (used >= problem.settings.floor)
    for row in (*options[allowed & (used >= LIKE)], *options[allowed & (used < LIKE)]):
        yield Candidate(as_assignment(row, choices), "drawn")


def _published(problem: Problem) -> Iterator[Candidate]:
    """Published designs scaled into the budgets."""
    costs, limits = _budgets(problem)
    for name, assignment in scaled_designs(problem.space, problem.walked, costs, limits, fill=problem.settings.aim):
        yield Candidate(assignment, f"{name}{SCALED}")


def is_design(origin: str) -> bool:
    """Whether a candidate is a published design."""
    return origin.endswith(SCALED)


def _used(problem: Problem, spent: np.ndarray) -> np.ndarray:
    """[n]: the largest share of a budget that costs [n, budgets] use; 1 without budgets."""
    if not problem.measured:
        return np.ones(len(spent))
    return np.max(spent / problem.limits.astype(np.float64), axis=1)


def _budgets(problem: Problem) -> tuple[list, list[float]]:
    return [m.cost for m in problem.measured], [m.budget.limit for m in problem.measured]


def rows(problem: Problem, candidates: list[Candidate]) -> list[list[int]]:
    """The candidates as option indices, for notes."""
    return as_options([c.assignment for c in candidates], problem.space.choices).tolist()
