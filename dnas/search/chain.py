"""Slimming: from the largest network to one within the budgets, action by action; the networks on the way are a chain.

At each ranking the frontier of actions (`dnas.search.actions`) is compared on the choices' share of the training
images, all with the same weights and batch norms estimated again for each; the best by the rule of
`dnas.search.ranking` is taken. The published method has switchable norms: statistics, scale and shift of each network's
own. Here statistics always are its own, because they are estimated again for each network; scale and shift are where a
block says `switchable`.

`rankings` bounds how often: where the way to the budgets is longer, one ranking takes actions in their order until
its share of the way, measured in logarithms of the costs, is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dnas.errors import UserError
from dnas.learning.course import Metrics, Phase, State
from dnas.search.actions import Actions, Reachable, described
from dnas.search.candidates import CandidateScores, compare
from dnas.search.compiling import Program
from dnas.search.filling import candidates, near, worse_than
from dnas.search.learn import PackedVariables
from dnas.search.mes import mobile_efficiency_score
from dnas.search.problem import Problem
from dnas.search.ranking import Effect, ranked
from dnas.search.start import refuse
from dnas.solve.many import as_options

Gain = Callable[[Sequence[float], Sequence[float]], float]
"""`(costs before, costs after) -> cost saved`: the denominator of the rule."""
Shortlist = Callable[[State, list[Reachable], Callable[[Reachable], float], float], list[Reachable]]
"""`(state, frontier, way saved, way wanted) -> those worth comparing`, in the order of the frontier."""


def check(problem: Problem, name: str) -> None:
    """Raises `UserError` where there is nothing to slim down to, and for a start: a chain begins at the largest."""
    refuse(problem, name)
    if not problem.measured:
        raise UserError(f"--strategy {name}: slims down to a budget; give one, e.g. --budget 200MFLOPs")


class Slimming:
    """The phase in which a chain grows in `State.notes`, for strategies that differ in how they train and rank."""

    def __init__(
        self, problem: Problem, program: Program, gain: Gain, start: Callable[[State], dict[str, int]],
        variables: Callable[[State], PackedVariables],
        shortlist: Shortlist = lambda state, frontier, saved, wanted: frontier,
    ):  # fmt: skip
        self.problem, self.program, self.gain, self.start = problem, program, gain, start
        self.variables, self.shortlist, self.actions = variables, shortlist, Actions(problem)
        moves = sum(len(c) - 1 for c in problem.space.choices)
        self.rankings = min(problem.settings.rankings or moves, moves)
        self.single = self.rankings == moves
        """One action a ranking."""

    def phase(self) -> Phase:
        return Phase("slim", max(1, self.rankings), self._step, self._begin, rows_every=1, done=self._done)

    def filling(self) -> Phase:
        """The phase after it (`dnas.search.filling`)."""
        most = len(self.problem.space.choices) if self.problem.settings.aim > 0 else 0
        return Phase("fill", most, self._fill, rows_every=1, done=self._filled)

    def found(self, state: State) -> dict[str, int]:
        """The last network of the chain, which keeps all budgets."""
        return state.notes["chain"][-1]["assignment"]

    def told(self, state: State) -> dict[str, Any]:
        """Fields of the outcome: the chain, the family, why no more of the budgets is used."""
        chain, unused = state.notes["chain"], state.notes.get("unused", "")
        return {"chain": chain, "family": self.family(state), "unused": unused}

    # The phase ------------------------------------------------------------------------------------------------------

    def _begin(self, state: State) -> State:
        start = self.start(state)
        scores = self._compare(state, [start])
        first = self._entry(0, start, [], float(scores.accuracy[0]), float(scores.loss[0]))
        return state._replace(notes={**state.notes, "chain": [first], "family": self._family({}, start)})

    def _done(self, state: State) -> bool:
        return self._way(state.notes["chain"][-1]["costs"]) == 0

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        """One ranking."""
        last = state.notes["chain"][-1]
        final = n + 1 == max(1, self.rankings)
        wanted = 0.0 if self.single else self._way(state.notes["chain"][0]["costs"]) / self.rankings
        if final:
            wanted = self._way(last["costs"])
        offered = self.shortlist(state, self.actions.frontier(last["assignment"]), self._saved(last), wanted)
        taken, passed = self._taken(state, last, offered, wanted)
        if not passed or (final and self._way(self.actions.cost_of(passed[-1]))):
            passed.append(self._solved(passed[-1] if passed else last["assignment"]))
            taken.append({"solved": "single actions led no further"})
        return self._grown(state, passed, taken, last)

    def _filled(self, state: State) -> bool:
        """Whether a budget is used, or it is known why none is."""
        used = max(state.notes["chain"][-1]["shares"])
        return used >= self.problem.settings.aim or "unused" in state.notes

    def _fill(self, state: State, n: int) -> tuple[State, Metrics]:
        """One ranking of networks that use more, of which the most accurate is taken, if it is not worse."""
        last = state.notes["chain"][-1]
        offered = candidates(self.problem, self.actions, last["assignment"])
        if not offered.networks:
            return state._replace(notes={**state.notes, "unused": offered.note}), {"chain": {}}
        scores = self._compare(state, [network.assignment for network in offered.networks])
        effects = [
            Effect(last["accuracy"] - float(accuracy), float(loss) - last["loss"], 1.0)
            for accuracy, loss in zip(scores.accuracy, scores.loss, strict=True)
        ]
        best = ranked(effects, self.problem.settings.rank_by)[0]
        accuracy, loss = float(scores.accuracy[best]), float(scores.loss[best])
        worse = offered.exchanged and worse_than(self.problem, state.notes["chain"], accuracy)
        if worse:
            return state._replace(notes={**state.notes, "unused": worse}), {"chain": {}}
        found = offered.networks[best]
        measured = effects[best]._asdict() | {"accuracy": accuracy, "loss": loss}
        measured["gain"] = self.gain(last["costs"], found.costs)
        taken = [described(self.problem.space, action) | measured for action in found.actions]
        return self._grown(state, [found.assignment], taken, last, (accuracy, loss))

    def _grown(
        self, state: State, passed: list[dict[str, int]], taken: list[dict[str, Any]], last: dict[str, Any],
        known: tuple[float, float] | None = None,
    ) -> tuple[State, Metrics]:  # fmt: skip
        """The chain with one more network, the last of those passed on the way; `known` are its accuracy and loss."""
        family = dict(state.notes["family"])
        for assignment in passed:
            family = self._family(family, assignment)
        if known is None and len(taken) == 1 and "accuracy" in taken[0]:
            known = taken[0]["accuracy"], taken[0]["loss"]
        entry = self._measured(state, passed[-1], taken, last, known)
        notes = {**state.notes, "chain": [*state.notes["chain"], entry], "family": family}
        row = {name: value for name, value in entry.items() if name != "assignment"}
        return state._replace(notes=notes), {"chain": row}

    def _taken(
        self, state: State, last: dict[str, Any], offered: list[Reachable], wanted: float
    ) -> tuple[list[dict[str, Any]], list[dict[str, int]]]:
        """The actions taken, as JSON, and the network after each."""
        scores = self._compare(state, [r.assignment for r in offered])
        effects = [
            Effect(last["accuracy"] - float(accuracy), float(loss) - last["loss"], self.gain(last["costs"], r.costs))
            for r, accuracy, loss in zip(offered, scores.accuracy, scores.loss, strict=True)
        ]
        taken, passed, current = [], [], last["assignment"]
        for n in ranked(effects, self.problem.settings.rank_by):
            action = offered[n].action
            if current[action.choice] != action.before:
                continue  # another action has moved this choice
            following = {**current, action.choice: action.after}
            if not self._nearer(current, following):
                continue
            current = following
            passed.append(current)
            measured = effects[n]._asdict() | {"accuracy": float(scores.accuracy[n]), "loss": float(scores.loss[n])}
            taken.append(described(self.problem.space, action) | measured)
            way = self._way(self.actions.cost_of(current))
            if way == 0 or self._way(last["costs"]) - way >= wanted:
                break
        return taken, passed

    def _nearer(self, before: dict[str, int], after: dict[str, int]) -> bool:
        """Whether an action still helps, and is still allowed, after others of the same ranking."""
        costs = self.actions.cost_of(before), self.actions.cost_of(after)
        options = as_options([after], self.problem.space.choices)
        return bool(self.actions.allowed(options)[0]) and self.actions.excess(costs[1]) < self.actions.excess(costs[0])

    def _solved(self, current: dict[str, int]) -> dict[str, int]:
        """A network within the budgets that differs from the current one in few choices."""
        return near(self.problem, current, fill=0)[0]

    # Entries --------------------------------------------------------------------------------------------------------

    def _measured(
        self, state: State, assignment: dict[str, int], taken: list[dict[str, Any]], last: dict[str, Any],
        known: tuple[float, float] | None,
    ) -> dict[str, Any]:  # fmt: skip
        if known is None:
            scores = self._compare(state, [assignment])
            known = float(scores.accuracy[0]), float(scores.loss[0])
        entry = self._entry(len(state.notes["chain"]), assignment, taken, *known)
        return entry | {"drop": last["accuracy"] - known[0]}

    def _entry(
        self, number: int, assignment: dict[str, int], taken: list[dict[str, Any]], accuracy: float, loss: float
    ) -> dict[str, Any]:
        """A network of the chain, as JSON."""
        costs = self.actions.cost_of(assignment)
        return {
            "number": number, "assignment": assignment, "actions": taken, "costs": list(costs),
            "shares": [c / m.budget.limit for c, m in zip(costs, self.problem.measured, strict=True)],
            "mes": score(self.problem, costs), "accuracy": accuracy, "loss": loss,
        }  # fmt: skip

    def _family(self, known: dict[str, Any], assignment: dict[str, int]) -> dict[str, Any]:
        """The first network of the chain within each budget of the family, those met so far."""
        known = dict(known)
        fixed = self.problem.measured[:-1] if self.problem.family else ()
        if any(m.at(assignment) > m.budget.limit for m in fixed):
            return known
        for m in self.problem.family:
            if m.budget.text not in known and m.at(assignment) <= m.budget.limit:
                known[m.budget.text] = assignment
        return known

    def family(self, state: State) -> list[dict[str, Any]]:
        """The networks of the family with their accuracies on the choices' share."""
        if not self.problem.family:
            return []
        found: dict[str, dict[str, int]] = state.notes["family"] | {
            self.problem.family[-1].budget.text: self.found(state)
        }
        scores = self._compare(state, list(found.values()))
        measured = {m.budget.text: m for m in self.problem.family}
        return [
            {
                "budget": text, "cost": measured[text].at(assignment), "assignment": assignment,
                "accuracy": float(scores.accuracy[n]),
            }
            for n, (text, assignment) in enumerate(found.items())
        ]  # fmt: skip

    # Measures -------------------------------------------------------------------------------------------------------

    def _compare(self, state: State, assignments: list[dict[str, int]]) -> CandidateScores:
        return compare(self.program, self.problem, self.variables(state), assignments)

    def _saved(self, last: dict[str, Any]) -> Callable[[Reachable], float]:
        here = self._way(last["costs"])
        return lambda reachable: here - self._way(reachable.costs)

    def _way(self, costs: Sequence[float]) -> float:
        """How far it is to the budgets, in logarithms of the costs; 0 where all are kept."""
        return sum(max(0.0, math.log(c / m.budget.limit)) for c, m in zip(costs, self.problem.measured, strict=True))


def score(problem: Problem, costs: Sequence[float]) -> float:
    """The mobile efficiency score in which a network exactly at its budgets has 100."""
    names = [m.budget.text for m in problem.measured]
    metrics = dict(zip(names, costs, strict=True))
    units = {m.budget.text: m.budget.limit for m in problem.measured}
    s = problem.settings
    exponents = dict.fromkeys(names, s.mes_alpha)
    return mobile_efficiency_score(metrics, units, exponents=exponents, sign=s.mes_sign)
