"""One search of the bench: a strategy's phases up to the network it decides for.

The network found is the one that `dnas.search` finds with the same settings and seed. The weights do not settle, which
takes a third of a search and comes after the decision; no files are written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from part import Member

from dnas.cost.budget import parse_budget
from dnas.data.dataset import Dataset
from dnas.search import strategies
from dnas.search.candidates import compare
from dnas.search.problem import Problem, make_problem
from dnas.search.run import compiler_for
from dnas.search.settings import Settings
from dnas.search.strategy import State, Strategy
from dnas.solve.many import as_assignment
from dnas.space.space import Space

SETTLING = "settle"
"""The phase after the decision."""


class Ended(NamedTuple):
    """What a search leaves."""

    found: dict[str, int]
    """Option taken for each choice."""
    inherited: list[float]
    """Accuracies of the networks asked for, with the supernet's weights as they are at the decision."""
    cpu_seconds: float
    """Of all steps; compiling, which searches of one space share, and the inherited accuracies are not in it."""


class Searches:
    """Searches of one space by one strategy; its programs are compiled once for all budgets and seeds."""

    def __init__(self, space: Space, strategy: str, settings: Settings, data: Dataset):
        self.space, self.settings, self.data = space, settings, data
        self.module = strategies.load(strategy)
        self.strategy, self.programs = strategy, None

    def problem(self, budget: str, seed: int) -> Problem:
        return make_problem(self.space, [parse_budget(budget)], self.data, self.settings, seed)

    def run(self, budget: str, seed: int, ranked: Sequence[Member]) -> Ended:
        """One search. `ranked` are the networks whose inherited accuracies are asked for."""
        problem = self.problem(budget, seed)
        made = self.module.strategy(problem, self._compiled(problem))
        began = time.process_time()
        state = decided(made)
        spent = time.process_time() - began
        return Ended(state.notes["assignment"], self.inherited(problem, state, ranked), spent)

    def inherited(self, problem: Problem, state: State, ranked: Sequence[Member]) -> list[float]:
        """On the choices' whole share of the training images, norms estimated for each network."""
        if not ranked:
            return []
        whole = replace(problem, settings=replace(problem.settings, rank_images=None))
        assignments = [as_assignment(np.array(member), self.space.choices) for member in ranked]
        programs: Any = self.programs
        return compare(programs.compare, whole, variables(state.arrays), assignments).accuracy.tolist()

    def _compiled(self, problem: Problem) -> Any:
        if self.programs is None:
            self.module.check(problem)
            compiler = compiler_for(problem, self.strategy)
            self.programs = self.module.compile_programs(problem, compiler)
            while not compiler.done(1.0):
                pass
        return self.programs


def decided(strategy: Strategy) -> State:
    """The state with which the weights would begin to settle: its notes name the network found."""
    state = strategy.start()
    for phase in strategy.phases:
        state = phase.begin(state)
        if phase.name == SETTLING:
            return state
        for n in range(phase.steps):
            if phase.done(state):
                break
            state, _ = phase.step(state, n)
    raise AssertionError(f"{strategy.name} has no phase {SETTLING}")


def variables(arrays: Any) -> Any:
    """The supernet's, of a strategy's arrays: weights alone, or weights beside what else it learns."""
    return getattr(arrays, "weights", arrays).variables
