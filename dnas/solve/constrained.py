"""The most probable architecture within budgets, with a certificate.

`most_probable` maximises a sum of log-probabilities under upper limits on costs, and asks that at least one budget be
used (a cost of at least `fill` of it), so that a search for 200 MFLOPs does not end in a network of 90. The answer
carries an upper bound that no allowed architecture can exceed; a gap of 0 means that it is optimal.

The fill condition is a union ("this budget or that one is used"), so it becomes one interval problem for each budget.
An interval is first relaxed to its lower side: there partial networks dominate one another, and the bound that the
relaxation proves ends the interval problem proper as soon as a network reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dnas.errors import UserError
from dnas.solve.branches import Best, Branch, branches, solve
from dnas.solve.elimination import optimum
from dnas.solve.model import Cost, Limits, build, product_table, total
from dnas.space.quantity import Quantity

NOTHING = Best(None, -math.inf, math.inf)


class Solution(NamedTuple):
    """An architecture and what is known about it."""

    assignment: dict[str, int]
    score: float
    costs: tuple[float, ...]
    upper_bound: float
    gap: float
    """Certified: no allowed architecture scores more than `score + gap`; 0 when proven optimal (to rounding)."""
    filled: bool
    note: str


def most_probable(
    scores: Sequence[Quantity],
    costs: Sequence[Cost],
    budgets: Sequence[float],
    *,
    fill: float = 0.97,
    constraints: Iterable[Quantity] = (),
) -> Solution:
    """The assignment of largest score with every cost at most its budget and one cost at least `fill` of its budget.

    Args:
        scores: log-probabilities, summed; -inf forbids.
        costs: one sum of products for each budget.
        budgets: upper limits, in the units of the costs.
        fill: 0 asks for upper limits alone. Where no allowed network uses a budget that far, the one that uses most
            is returned with `filled` False and a note; bound and gap then speak of the networks of that size.
        constraints: quantities that must be non-zero.

    Effort is limited by counts, so equal inputs give equal answers. Beyond the usual effort the search goes on only
    while the gap exceeds `branches.ENOUGH`. Raises `UserError` where the budgets cannot be met.
    """
    if len(costs) != len(budgets):
        raise ValueError(f"{len(costs)} costs but {len(budgets)} budgets")
    constraints = list(constraints)
    allowed = [*constraints, *(Quantity(q.over, ~np.isneginf(q.table.astype(np.float64))) for q in scores)]
    _check_each(costs, budgets, allowed)
    parts = branches(build(scores, costs, constraints))
    problem = _Problem(costs, budgets)
    free = problem.solve(parts, problem.upper())
    if free.assignment is None:
        raise UserError(_together(free.bound == -math.inf))
    if fill <= 0 or not costs or problem.fills(free.assignment, fill):
        return problem.solution(scores, free, True, "")
    best, bound = NOTHING, -math.inf
    for j in range(len(costs)):
        found = problem.interval(parts, j, fill, best._replace(bound=free.bound))
        best, bound = found._replace(bound=math.inf), max(bound, found.bound)
    if best.assignment is not None:
        return problem.solution(scores, best._replace(bound=max(bound, best.score)), True, "")
    return _largest(problem, scores, allowed, constraints, fill, bound, free.assignment)


def smallest(cost: Cost, constraints: Iterable[Quantity] = ()) -> tuple[float, dict[str, int]]:
    """The smallest reachable value of a cost, and an assignment that reaches it."""
    return _extreme(cost, "min", constraints)


def largest(cost: Cost, constraints: Iterable[Quantity] = ()) -> tuple[float, dict[str, int]]:
    """The largest reachable value of a cost, and an assignment that reaches it."""
    return _extreme(cost, "max", constraints)


def _extreme(cost: Cost, sense: Literal["max", "min"], constraints: Iterable[Quantity]) -> tuple[float, dict[str, int]]:
    _, assignment = optimum([Quantity(*product_table(p)) for p in cost], sense, constraints)
    return total(cost, assignment), assignment  # the tables hold floats: counted again in integers


def feasible_together(
    costs: Sequence[Cost], budgets: Sequence[float], constraints: Iterable[Quantity] = ()
) -> dict[str, int] | None:
    """An assignment with every cost within its budget; None where none exists.

    Raises `UserError`, as `most_probable` does, where neither an assignment nor a proof that there is none was found
    (never seen; the largest beam bounds the effort).
    """
    weights = [-1 / b if b > 0 else -1.0 for b in budgets]
    terms = [(weight, *product_table(p)) for weight, cost in zip(weights, costs, strict=True) for p in cost]
    model = build([Quantity(over, weight * table) for weight, over, table in terms], costs, constraints)
    problem = _Problem(costs, budgets)
    found = problem.solve(branches(model), problem.upper(), first=True)
    if found.assignment is None and found.bound > -math.inf:
        raise UserError(_together(False))
    return found.assignment


class _Problem:
    """Costs and budgets: what every search here shares."""

    def __init__(self, costs: Sequence[Cost], budgets: Sequence[float]):
        self.costs, self.budgets = costs, budgets

    def upper(self) -> Limits:
        upper = np.array(self.budgets, np.float64)
        return Limits(np.full(len(upper), -np.inf), upper)

    def values(self, assignment: dict[str, int]) -> tuple[float, ...]:
        return tuple(total(cost, assignment) for cost in self.costs)

    def fills(self, assignment: dict[str, int], fill: float) -> bool:
        return any(c >= fill * b for c, b in zip(self.values(assignment), self.budgets, strict=True))

    def solve(self, parts: list[Branch], limits: Limits, start: Best = NOTHING, *, first: bool = False) -> Best:
        def accept(assignment: dict[str, int]) -> bool:
            return limits.allow(self.values(assignment))

        return solve(parts, limits, accept, start, first=first)

    def interval(self, parts: list[Branch], j: int, fill: float, start: Best) -> Best:
        """Also cost j at least `fill` of its budget; the bound speaks of this interval alone."""
        both, relaxed = self.upper(), self.upper()
        both.lower[j] = relaxed.lower[j] = fill * self.budgets[j]
        relaxed.upper[j] = np.inf
        # The start bounds the search from below; it may lie outside this interval.
        loose = self.solve(parts, relaxed, start)
        if loose.assignment is None or loose.bound <= start.score:
            return start._replace(bound=loose.bound)
        if both.allow(self.values(loose.assignment)):
            return loose
        return self.solve(parts, both, start._replace(bound=loose.bound))

    def solution(self, scores: Sequence[Quantity], best: Best, filled: bool, note: str) -> Solution:
        assert best.assignment is not None
        score = _score(scores, best.assignment)
        # The bound belongs to a score summed in another order: what is within rounding of it is proven.
        gap = best.bound - best.score
        gap = gap if gap > 1e-8 * max(1.0, abs(score)) else 0.0
        return Solution(best.assignment, score, self.values(best.assignment), score + gap, gap, filled, note)


def _largest(
    problem: _Problem,
    scores: Sequence[Quantity],
    allowed: list[Quantity],
    constraints: Iterable[Quantity],
    fill: float,
    bound: float,
    known: dict[str, int],
) -> Solution:
    """No network in the fill interval was found: the most probable one of those that use most of a budget."""
    use, j, value, fullest = -math.inf, 0, 0.0, known
    for i, (cost, budget) in enumerate(zip(problem.costs, problem.budgets, strict=True)):
        scale = 1 / budget if budget > 0 else 1.0
        terms = [product_table(p) for p in cost]
        model = build([Quantity(over, scale * table) for over, table in terms], problem.costs, allowed)
        start = Best(known, problem.values(known)[i] * scale, math.inf)
        assignment = problem.solve(branches(model), problem.upper(), start).assignment
        assert assignment is not None
        reached = problem.values(assignment)[i]
        if reached * scale > use:
            use, j, value, fullest = reached * scale, i, reached, assignment
    limits = problem.upper()
    limits.lower[j] = min(value, fill * problem.budgets[j])
    found = problem.solve(
        branches(build(scores, problem.costs, constraints)), limits, Best(fullest, _score(scores, fullest), math.inf)
    )
    assert found.assignment is not None
    if problem.fills(found.assignment, fill):
        return problem.solution(scores, found._replace(bound=max(found.bound, bound)), True, "")
    budgeted = zip(problem.costs, problem.budgets, strict=True)
    reach = [largest(cost, allowed)[0] / b if b > 0 else math.inf for cost, b in budgeted]
    if max(reach) < fill:
        note = f"even the largest network uses only {use:.1%} of a budget"
    else:
        none = "no network" if bound == -math.inf else "no network was found that"
        note = f"{none} uses between {fill:.0%} and 100% of a budget; the most that one uses is {use:.1%}"
    return problem.solution(scores, found, False, note)


def _score(scores: Sequence[Quantity], assignment: dict[str, int]) -> float:
    return math.fsum(q.at(assignment) for q in scores)


def _check_each(costs: Sequence[Cost], budgets: Sequence[float], allowed: list[Quantity]) -> None:
    for cost, budget in zip(costs, budgets, strict=True):
        least, _ = smallest(cost, allowed)
        if least > budget:
            raise UserError(f"the budget {budget:,} cannot be met: the smallest reachable cost is {least:,}")


def _together(proven: bool) -> str:
    if proven:
        return "each budget can be met alone, but no architecture meets all of them together"
    return "no architecture that meets all budgets together was found; each can be met alone"
