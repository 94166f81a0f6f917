"""Sandwich training, then joint slimming of all choices (EfficientFormerV2, Li et al. 2023, section 3.3).

The weights learn by the sandwich rule, or as the settings say (`dnas.search.supernet`). Then slimming
(`dnas.search.chain`) compares every action of the frontier at each ranking and takes the one with the least accuracy
lost for the gain in mobile efficiency score. Elastic depth is the sandwich itself: networks without a block are drawn
like any others.
"""

from __future__ import annotations

from collections.abc import Sequence

from dnas.learning.course import State
from dnas.search import chain, singlepath, supernet
from dnas.search.actions import extreme
from dnas.search.chain import Slimming, score
from dnas.search.compiling import Compiler
from dnas.search.descent import Learner, planned
from dnas.search.ending import Ending
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome, Strategy
from dnas.search.supernet import Programs

NAME = "sandwich"


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    chain.check(problem, NAME)
    supernet.check(problem, NAME)


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    return supernet.compile_programs(problem, compiler, NAME, NAME)


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another problem that differs in data and seed alone."""
    s, plan, learner = problem.settings, planned(problem), Learner(problem, programs.learning)
    largest = extreme(problem, "max")

    def gain(before: Sequence[float], after: Sequence[float]) -> float:
        """Gain in efficiency: with the plus sign the score grows with size, so that less of it is the gain."""
        return (score(problem, after) - score(problem, before)) * (1 if s.mes_sign == "minus" else -1)

    slimming = Slimming(problem, programs.compare, gain, lambda state: largest, lambda state: state.arrays.variables)
    ending = Ending(problem, plan, learner, programs.compare, slimming.found)

    def outcome(state: State) -> Outcome:
        return ending.outcome(state, **slimming.told(state))

    phases = (supernet.training(problem, learner, NAME), slimming.phase(), slimming.filling(), ending.phase())
    return Strategy(NAME, lambda: State(singlepath.start(problem), {}), phases, outcome)
