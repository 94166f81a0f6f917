"""Evolution on inherited weights (AutoFormer, Chen et al. 2021, section 3.4), after single-path supernet training.

The first generation is drawn evenly within the budgets. Each following one has as many children of mutation as of
crossover among the best networks so far; a child outside the budgets, one the constraints forbid or one already seen is
drawn again, and what is missing in the end is drawn evenly as at first. The best network of all generations is found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from dnas.learning.course import Metrics, Phase, State
from dnas.search import singlepath
from dnas.search.candidates import compare, compile_comparison
from dnas.search.compiling import Compiler, Program
from dnas.search.descent import Learner, Learning, compile_learning, planned
from dnas.search.found import Ending
from dnas.search.problem import Problem
from dnas.search.sampling import Sampler
from dnas.search.strategy import Outcome, Strategy

NAME = "evolution"
TRIES = 10
"""Children drawn for each one wanted, at most."""


class Programs(NamedTuple):
    """What is compiled."""

    learning: Learning
    compare: Program


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    singlepath.check(problem, NAME)


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    weights = singlepath.start(problem)
    return Programs(compile_learning(problem, compiler), compile_comparison(problem, compiler, weights.variables))


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another problem that differs in data and seed alone."""
    plan, learner, s = planned(problem), Learner(problem, programs.learning), problem.settings
    sampler = singlepath.sampler(problem, s.population)

    def evolve(state: State, n: int) -> tuple[State, Metrics]:
        seen, scores = state.notes.get("seen", []), state.notes.get("scores", [])
        rows = generation(problem, sampler, seen, scores, n)
        if rows:
            found = compare(programs.compare, problem, state.arrays.variables, singlepath.assignments(problem, rows))
            scores = [*scores, *map(list, zip(found.accuracy.tolist(), found.loss.tolist(), strict=True))]
        notes = {**state.notes, "seen": [*seen, *rows], "scores": scores}
        return state._replace(notes=notes), {"compared": len(scores), "best": singlepath.best(scores)[1]}

    def decide(state: State) -> dict[str, int]:
        index, _ = singlepath.best(state.notes["scores"])
        return singlepath.assignments(problem, [state.notes["seen"][index]])[0]

    ending = Ending(problem, plan, learner, programs.compare, decide)

    def outcome(state: State) -> Outcome:
        scores: list[Any] = state.notes["scores"]
        # The first generation was drawn evenly within the budgets.
        summary = singlepath.summary(scores, min(len(scores), s.population))
        note = sampler.note
        return ending.outcome(state, summary=summary, warnings=[note] if note else [], unused=note)

    phases = (
        singlepath.training(problem, learner),
        Phase("evolve", s.generations, evolve, rows_every=1),
        ending.phase(),
    )
    return Strategy(NAME, lambda: State(singlepath.start(problem), {}), phases, outcome)


def generation(
    problem: Problem, sampler: Sampler, seen: list[list[int]], scores: list[list[float]], n: int
) -> list[list[int]]:
    """Networks of generation `n` as rows of option indices; none of them is among those seen."""
    s, rows = problem.settings, []
    known = {tuple(row) for row in seen}
    if seen:
        order = sorted(range(len(seen)), key=lambda i: (-scores[i][0], scores[i][1], i))
        parents = np.array([seen[i] for i in order[: s.parents]], int)
        random = np.random.default_rng([problem.seed, singlepath.CHILDREN, n])
        half = s.population // 2
        for count, make in ((half, mutated), (s.population - half, crossed)):
            children = make(random, parents, sampler.sizes, count * TRIES, s.mutation)
            rows += _new(sampler, children, known, count)
    drawn = sampler.draw(s.population, [problem.seed, singlepath.SAMPLES, n])
    fill = np.array([list(a.values()) for a in drawn], int)
    return rows + _new(sampler, fill, known, s.population - len(rows))


def mutated(
    random: np.random.Generator, parents: Int[np.ndarray, "parents choices"], sizes: Int[np.ndarray, " choices"],
    count: int, probability: float,
) -> Int[np.ndarray, "count choices"]:  # fmt: skip
    """Copies of random parents in which each choice is drawn anew with `probability`."""
    children = parents[random.integers(0, len(parents), count)]
    anew = random.integers(0, sizes, children.shape)
    return np.where(random.random(children.shape) < probability, anew, children)


def crossed(
    random: np.random.Generator, parents: Int[np.ndarray, "parents choices"], sizes: Int[np.ndarray, " choices"],
    count: int, probability: float,
) -> Int[np.ndarray, "count choices"]:  # fmt: skip
    """Children of two random parents, each choice from either with probability 1/2."""
    mothers, fathers = (parents[random.integers(0, len(parents), count)] for _ in range(2))
    return np.where(random.random(mothers.shape) < 0.5, mothers, fathers)


def _new(
    sampler: Sampler, children: Int[np.ndarray, "n choices"], known: set[tuple[int, ...]], count: int
) -> list[list[int]]:
    """The first `count` children within the budgets that are not known; they become known."""
    rows: list[list[int]] = []
    for child in children[sampler.within(children)] if len(children) else []:
        name = tuple(sampler.spelled_row(child).tolist())
        if len(rows) < count and name not in known:
            known.add(name)
            rows.append(list(name))
    return rows
