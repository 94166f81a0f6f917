"""The end of a search that has decided for one network: its weights settle under its own gates, then it is assessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnas.learning.course import Metrics, Phase, State
from dnas.nn.gates import one_hot
from dnas.search.assess import accuracies, assessed
from dnas.search.candidates import as_assessment
from dnas.search.compiling import Program
from dnas.search.descent import Learner, Steps, Weights
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome


class Ending:
    """Settles and assesses the network that `decide(state)` names.

    `weights` and `replaced` read and write the weights in the strategy's own arrays.
    """

    def __init__(
        self, problem: Problem, plan: Steps, learner: Learner, compare: Program,
        decide: Callable[[State], dict[str, int]],
        weights: Callable[[Any], Weights] = lambda arrays: arrays,
        replaced: Callable[[Any, Weights], Any] = lambda arrays, weights: weights,
    ):  # fmt: skip
        self.problem, self.plan, self.learner, self.decide = problem, plan, learner, decide
        self.assess, self.weights, self.replaced = as_assessment(compare), weights, replaced

    def phase(self) -> Phase:
        return Phase("settle", self.plan.settle, self._step, begin=self._begin, end=self.learner.batches.rest)

    def _begin(self, state: State) -> State:
        """Decides; the network is assessed as it is before the weights settle."""
        assignment = self.decide(state)
        gates = one_hot(self.problem.layout, assignment)
        before = assessed(self.assess, self.problem, self.weights(state.arrays).variables, gates)
        found = {"assignment": assignment, "accuracies": accuracies([("derived", before)])}
        return state._replace(notes={**state.notes, **found})

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        gates = one_hot(self.problem.layout, state.notes["assignment"])
        weights, metrics = self.learner.step(self.weights(state.arrays), gates, self.plan.supernet + n)
        # What the last ranking said is not repeated in the rows that follow.
        return state._replace(arrays=self.replaced(state.arrays, weights)), metrics | {"chain": {}}

    def outcome(self, state: State, **more: Any) -> Outcome:
        """The network found; `more` are further fields of the outcome."""
        if "assignment" not in state.notes:
            state = self._begin(state)
        assignment = state.notes["assignment"]
        gates = one_hot(self.problem.layout, assignment)
        last = assessed(self.assess, self.problem, self.weights(state.arrays).variables, gates)
        named = dict(state.notes["accuracies"])
        if self.plan.settle:
            named |= accuracies([("settled", last)])
        costs = tuple(m.at(assignment) for m in self.problem.measured)
        return Outcome(assignment, costs, last.variables, named, last.images, **more)
