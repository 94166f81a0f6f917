"""Random search, the honest baseline: a supernet trained by single uniform paths, then the best of a random sample.

The weights learn by single paths, or as the settings say (`dnas.search.supernet`). Then networks are drawn evenly among
those within the budgets, compared with inherited weights on the choices' share of the training images, and the best
one's weights settle.
"""

from __future__ import annotations

from typing import Any

from dnas.learning.course import Metrics, Phase, State
from dnas.search import singlepath, supernet
from dnas.search.candidates import ROWS
from dnas.search.compiling import Compiler
from dnas.search.descent import Learner, planned
from dnas.search.ending import Ending
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome, Strategy
from dnas.search.supernet import Programs

NAME = "random"


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    singlepath.check(problem, NAME)
    supernet.check(problem)


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    return supernet.compile_programs(problem, compiler, NAME)


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another problem that differs in data and seed alone."""
    plan, learner = planned(problem), Learner(problem, programs.learning)
    samples = problem.settings.samples

    def draw(state: State) -> State:
        """All networks that are to be compared."""
        sampler = singlepath.sampler(problem, samples)
        drawn = sampler.draw(samples, [problem.seed, singlepath.SAMPLES])
        rows = [list(a.values()) for a in drawn]
        return state._replace(notes={**state.notes, "drawn": rows, "scores": [], "note": sampler.note})

    def compare_some(state: State, n: int) -> tuple[State, Metrics]:
        part = state.notes["drawn"][n * ROWS : (n + 1) * ROWS]
        return singlepath.compared(problem, programs.compare, state, part)

    def decide(state: State) -> dict[str, int]:
        index, _ = singlepath.best(state.notes["scores"])
        return singlepath.assignments(problem, [state.notes["drawn"][index]])[0]

    ending = Ending(problem, plan, learner, programs.compare, decide)

    def outcome(state: State) -> Outcome:
        notes: dict[str, Any] = state.notes
        summary = singlepath.summary(problem, notes["drawn"], notes["scores"], len(notes["scores"]))
        note = notes["note"]
        return ending.outcome(state, summary=summary, warnings=[note] if note else [], unused=note)

    phases = (
        supernet.training(problem, learner),
        Phase("compare", -(-samples // ROWS), compare_some, begin=draw, done=lambda s: exhausted(s)),
        ending.phase(),
    )
    return Strategy(NAME, lambda: State(singlepath.start(problem), {}), phases, outcome)


def exhausted(state: State) -> bool:
    """Whether every network drawn was compared: a small space may have fewer than were asked for."""
    return len(state.notes["scores"]) >= len(state.notes["drawn"])
