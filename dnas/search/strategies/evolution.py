"""Evolution on inherited weights (AutoFormer, Chen et al. 2021, section 3.4), after the supernet's training.

The weights learn by single paths, or as the settings say (`dnas.search.supernet`); then generations are compared with
the weights they inherit (`dnas.search.generations`), and the best network of all settles.
"""

from __future__ import annotations

from dnas.learning.course import State
from dnas.search import singlepath, supernet
from dnas.search.candidates import CandidateScores, compare
from dnas.search.compiling import Compiler
from dnas.search.descent import Learner, planned
from dnas.search.ending import Ending
from dnas.search.generations import Evolution
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome, Strategy
from dnas.search.supernet import Programs

NAME = "evolution"


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

    def score(state: State, assignments: list[dict[str, int]]) -> CandidateScores:
        return compare(programs.compare, problem, state.arrays.variables, assignments)

    evolution = Evolution(problem, score)
    ending = Ending(problem, plan, learner, programs.compare, evolution.found)

    def outcome(state: State) -> Outcome:
        return ending.outcome(state, **evolution.told(state))

    phases = (supernet.training(problem, learner), evolution.phase(), ending.phase())
    return Strategy(NAME, lambda: State(singlepath.start(problem), {}), phases, outcome)
