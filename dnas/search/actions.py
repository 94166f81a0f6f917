"""What slimming may do next: each action moves one choice to its next cheaper option.

Nothing here knows kinds of blocks. A choice that stands in several places moves in all of them at once, because it is
one choice. Cheaper means a smaller geometric mean of the budgeted costs. The list is as long as the space has choices,
not as it has architectures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from dnas.cost import ledger
from dnas.cost.ledger import Cost
from dnas.search.problem import Problem
from dnas.solve.elimination import optimum
from dnas.solve.many import Constraints, Costs, as_assignment, as_options
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Node, OneOf, Space, Stage

PREFERRED, BY_SIZE, FIRST = 1e-6, 1e-7, 1e-13
"""What decides between networks of one budgeted cost, in shares of a budget: each only where those before it do not."""


class Action(NamedTuple):
    """One choice moved from one option to another, by index."""

    choice: str
    before: int
    after: int


class Reachable(NamedTuple):
    """An action and the architecture to which it leads."""

    action: Action
    assignment: dict[str, int]
    costs: tuple[float, ...]


class Exchange(NamedTuple):
    """Several actions at once and the architecture to which they lead."""

    actions: tuple[Action, ...]
    assignment: dict[str, int]
    costs: tuple[float, ...]


class Actions:
    """The actions of a problem; needs at least one budget."""

    def __init__(self, problem: Problem):
        self.problem, self.choices = problem, problem.space.choices
        self.limits = np.array([m.budget.limit for m in problem.measured], np.float64)
        self.costs = Costs([m.cost for m in problem.measured], self.choices)
        self.allowed = Constraints(problem.space.constraints, self.choices)
        self.blocks = {choice.name for choice in block_choices(problem.space.nodes)}

    def frontier(self, state: dict[str, int]) -> list[Reachable]:
        """Every action that the constraints allow and that brings a budget not kept nearer, in the order of the space.

        For each choice the next cheaper option; a choice between whole blocks may also go straight to its cheapest,
        which is how a block is removed.
        """
        here = self.excess(self._costs_of([state])[0])
        found = []
        for choice in self.choices:
            useful = [m for m in self._moves(state, choice) if here - self.excess(m.costs) > 1e-12 * max(1.0, here)]
            useful.sort(key=lambda m: (-self.load(m.costs), m.action.after))
            found += useful[:1]
            if choice.name in self.blocks:
                found += useful[1:][-1:]
        return found

    def back(self, state: dict[str, int]) -> list[Reachable]:
        """For each choice the next costlier option with which all budgets are kept, where there is one."""
        load = self.load(self._costs_of([state])[0])
        found = []
        for choice in self.choices:
            moves = self._moves(state, choice)
            useful = [m for m in moves if self.load(m.costs) > load + 1e-12 and not self.excess(m.costs)]
            found += sorted(useful, key=lambda m: (self.load(m.costs), m.action.after))[:1]
        return found

    def _moves(self, state: dict[str, int], choice: Choice) -> list[Reachable]:
        """Every other option of a choice that the constraints allow, in the order of the options."""
        options = [k for k in range(len(choice)) if k != state[choice.name]]
        states = [{**state, choice.name: k} for k in options]
        costs, allowed = self._costs_of(states), self.allowed(as_options(states, self.choices))
        return [
            Reachable(Action(choice.name, state[choice.name], options[n]), states[n], tuple(costs[n].tolist()))
            for n in np.flatnonzero(allowed).tolist()
        ]

    def exchanges(self, state: dict[str, int], most: int) -> list[Exchange]:
        """Pairs of a choice moved to a costlier option and another to a cheaper one with which all budgets are kept and
        the fullest is fuller: the `most` that use most of it.

        Of each choice the next option up and the next down, by the load of the network with that move alone.
        """
        here = as_options([state], self.choices)[0]
        ups, downs = self._steps(here)
        pairs = [(up, down) for up in ups for down in downs if up[0] != down[0]]
        if not pairs:
            return []
        rows = np.repeat(here[None], len(pairs), axis=0)
        for n, pair in enumerate(pairs):
            for column, option in pair:
                rows[n, column] = option
        costs = self.costs(rows)
        used, now = self.used(costs), self.used(self.costs(here[None]))[0]
        kept = (used <= 1) & (used > now + 1e-12) & self.allowed(rows)
        best = sorted(np.flatnonzero(kept).tolist(), key=lambda n: (-used[n], n))[:most]
        return [
            Exchange(
                tuple(Action(self.choices[c].name, int(here[c]), option) for c, option in pairs[n]),
                as_assignment(rows[n], self.choices), tuple(costs[n].tolist()),
            )
            for n in best
        ]  # fmt: skip

    def _steps(self, here: Int[np.ndarray, " choices"]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(column, option) of each choice's next costlier option, and of each one's next cheaper."""
        load, ups, downs = self.load(self.costs(here[None])[0]), [], []
        for column, choice in enumerate(self.choices):
            rows = np.repeat(here[None], len(choice), axis=0)
            rows[:, column] = np.arange(len(choice))
            moved = [(self.load(row) - load, option) for option, row in enumerate(self.costs(rows))]
            ups += [(column, option) for change, option in sorted(m for m in moved if m[0] > 1e-12)[:1]]
            downs += [(column, option) for change, option in sorted(m for m in moved if m[0] < -1e-12)[-1:]]
        return ups, downs

    def excess(self, costs: Sequence[float] | np.ndarray) -> float:
        """How far costs lie above their limits, in shares of the limits, summed; 0 where all budgets are kept."""
        return float(np.maximum(np.asarray(costs) / self.limits - 1, 0).sum())

    def used(self, costs: Real[np.ndarray, "states budgets"]) -> Float[np.ndarray, " states"]:
        """The share of the budget of which most is used."""
        return np.max(costs / self.limits, axis=1)

    def load(self, costs: Sequence[float] | np.ndarray) -> float:
        """Logarithm of the geometric mean of the costs in units of their limits."""
        return float(np.mean([math.log(max(c, 1e-300) / limit) for c, limit in zip(costs, self.limits, strict=True)]))

    def cost_of(self, assignment: dict[str, int]) -> tuple[float, ...]:
        """Exact, a budget each."""
        return tuple(m.at(assignment) for m in self.problem.measured)

    def _costs_of(self, states: Sequence[dict[str, int]]) -> Float[np.ndarray, "states budgets"]:
        return self.costs(as_options(states, self.choices))


def extreme(problem: Problem, sense: str, preferred: dict[str, int] | None = None) -> dict[str, int]:
    """The largest (`max`) or smallest (`min`) architecture: by the budgeted costs in units of their limits, summed.

    Choices without such a cost take their `preferred` option where the constraints allow it; else the largest or
    smallest by multiply-adds and parameters; where there is none, the first.
    """
    sign = 1 if sense == "max" else -1
    terms = [part for m in problem.measured for part in _parts(m.cost, 1 / m.budget.limit)]
    for choice in free_choices(problem):
        wish = np.zeros(len(choice))
        wish[0] = sign * FIRST
        if preferred is not None and choice.name in preferred:
            wish[preferred[choice.name]] = sign * PREFERRED
        terms.append(Quantity((choice,), wish))
    for count in (ledger.macs, ledger.params):
        cost = count(problem.walked.ledger)
        terms += _parts(cost, BY_SIZE / optimum([p.joint() for p in cost], "max", problem.space.constraints)[0])
    _, found = optimum(terms, "max" if sense == "max" else "min", problem.space.constraints)
    return {c.name: found.get(c.name, 0) for c in problem.space.choices}


def _parts(cost: Cost, weight: float) -> list[Quantity]:
    """The terms of a weighted cost."""
    return [Quantity(q.over, q.table * weight) for q in (product.joint() for product in cost)]


def free_choices(problem: Problem) -> list[Choice]:
    """Choices that change no budgeted cost: slimming has no reason to move them."""
    costed = {c.name for m in problem.measured for product in m.cost for c in product.over}
    return [c for c in problem.space.choices if c.name not in costed]


def path_choices(problem: Problem) -> list[Choice]:
    """Choices of what there is, as against how large it is: between blocks, of depth, of a part on or off; and those
    without a cost.
    """
    names = {c.name for c in (*block_choices(problem.space.nodes), *depth_choices(problem.space.nodes))}
    names |= {c.name for c in free_choices(problem)}
    return [c for c in problem.space.choices if c.name in names or all(isinstance(o, bool) for o in c.options)]


def block_choices(nodes: Sequence[Node]) -> Iterator[Choice]:
    """Choices between whole blocks."""
    for node in nodes:
        if isinstance(node, OneOf):
            yield node.choice
            yield from block_choices(node.branches)
        elif isinstance(node, Stage):
            yield from block_choices(node.blocks)


def depth_choices(nodes: Sequence[Node]) -> Iterator[Choice]:
    """Choices of how many blocks there are."""
    for node in nodes:
        if isinstance(node, OneOf):
            yield from depth_choices(node.branches)
        elif isinstance(node, Stage):
            yield from node.depth.over
            yield from depth_choices(node.blocks)


def described(space: Space, action: Action) -> dict[str, object]:
    """The action as JSON: the choice and its options."""
    options = space.choice(action.choice).options
    return {"choice": action.choice, "from": options[action.before], "to": options[action.after]}
