"""Sandwich training, then joint slimming of all choices (EfficientFormerV2, Li et al. 2023, section 3.3).

Each step trains the largest network, the smallest and two drawn evenly, on the same batch with their gradients summed
(sandwich rule, Yu and Huang 2019). With `distill` all but the largest learn the largest's probabilities instead of the
labels. Then slimming (`dnas.search.chain`) compares every action of the frontier at each ranking and takes the one
with the least accuracy lost for the gain in mobile efficiency score. Elastic depth is the sandwich itself: networks
without a block are drawn like any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import one_hot
from dnas.search import chain, singlepath
from dnas.search.actions import extreme
from dnas.search.candidates import compile_comparison
from dnas.search.chain import Slimming, score
from dnas.search.compiling import Compiler, Program
from dnas.search.descent import Learner, Learning, compile_learning, planned, summed
from dnas.search.found import Ending
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome, Strategy

NAME = "sandwich"


class Programs(NamedTuple):
    """What is compiled."""

    learning: Learning
    compare: Program


def check(problem: Problem) -> None:
    """Raises `UserError` for what the strategy cannot do."""
    chain.check(problem, NAME)


def compile_programs(problem: Problem, compiler: Compiler) -> Programs:
    """Every program of the strategy, each traced once."""
    weights = singlepath.start(problem)
    return Programs(
        compile_learning(problem, compiler, whole=True), compile_comparison(problem, compiler, weights.variables)
    )


def strategy(problem: Problem, programs: Programs) -> Strategy:
    """The strategy on a problem; `programs` may be those of another problem that differs in data and seed alone."""
    s, plan, learner = problem.settings, planned(problem), Learner(problem, programs.learning)
    largest, smallest, draw = extreme(problem, "max"), extreme(problem, "min"), singlepath.Paths(problem)

    def train(state: State, n: int) -> tuple[State, Metrics]:
        """One batch seen by the largest network first, whose probabilities the others may learn."""
        networks = [smallest, *(draw(n, stream) for stream in range(s.sandwich_random))]
        first = learner.gradient(state.arrays, one_hot(problem.layout, largest), n)
        targets = np.asarray(jax.nn.softmax(first.logits)) if s.distill else None
        others = [learner.gradient(state.arrays, one_hot(problem.layout, a), n, targets) for a in networks]
        weights = learner.descend(state.arrays, first._replace(params=summed([r.params for r in (first, *others)])))
        smallest_network = {"smallest_loss": others[0].loss, "smallest_accuracy": others[0].accuracy}
        return state._replace(arrays=weights), first.metrics | smallest_network

    def gain(before: Sequence[float], after: Sequence[float]) -> float:
        """Gain in efficiency: with the plus sign the score grows with size, so that less of it is the gain."""
        return (score(problem, after) - score(problem, before)) * (1 if s.mes_sign == "minus" else -1)

    slimming = Slimming(problem, programs.compare, gain, lambda state: largest, lambda state: state.arrays.variables)
    ending = Ending(problem, plan, learner, programs.compare, slimming.found)

    def outcome(state: State) -> Outcome:
        return ending.outcome(state, **slimming.told(state))

    phases = (Phase("sandwich", plan.supernet, train), slimming.phase(), slimming.filling(), ending.phase())
    return Strategy(NAME, lambda: State(singlepath.start(problem), {}), phases, outcome)
