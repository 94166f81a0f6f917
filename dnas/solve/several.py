"""The K most probable architectures within budgets, best first and exact where the solver's proofs are (gap 0).

Lawler's partition (Lawler 1972): the architectures that are left after the best one are divided by the first choice in
which they differ from it. Each part fixes the choices before that one, forbids one option, and is a smaller problem of
the same kind. A part is solved only when no other part can hold a better architecture, by a bound that costs nothing:
the sum of the largest entry of each score.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dnas.errors import UserError
from dnas.solve.constrained import Solution, most_probable
from dnas.solve.model import Cost, product_table, total
from dnas.space.quantity import Assignment, Choice, Product, Quantity, union


class _Part(NamedTuple):
    """Architectures that agree with `fixed`; `forbidden` scores exclude some of their options."""

    fixed: Assignment
    forbidden: tuple[Quantity, ...]


def most_probable_several(
    scores: Sequence[Quantity],
    costs: Sequence[Cost],
    budgets: Sequence[float],
    count: int,
    *,
    fill: float = 0.0,
    constraints: Iterable[Quantity] = (),
) -> list[Solution]:
    """Up to `count` different assignments of largest score with every cost at most its budget, best first.

    Fewer where fewer are within the budgets and use at least `fill` of one of them; none where no network does.
    Arguments as in `most_probable`, which is the case of one.

    Raises `UserError` where the budgets cannot be met.
    """
    constraints = list(constraints)
    tables = [[Quantity(*product_table(product)) for product in cost] for cost in costs]
    choices = union([*scores, *constraints, *(q for cost in tables for q in cost)])

    def solved(part: _Part) -> Solution | None:
        left = [q.fix(part.fixed) for q in (*scores, *part.forbidden)]
        fixed_costs = [[Product(q.fix(part.fixed)) for q in cost] for cost in tables]
        try:
            found = most_probable(
                left, fixed_costs, budgets, fill=fill, constraints=[q.fix(part.fixed) for q in constraints]
            )
        except UserError:
            return None  # nothing of this part is within the budgets
        assignment = {**part.fixed, **found.assignment}
        values = tuple(total(cost, assignment) for cost in costs)
        within = all(value <= budget for value, budget in zip(values, budgets, strict=True))
        return found._replace(assignment=assignment, costs=values) if within and found.filled else None

    first = most_probable(scores, costs, budgets, fill=fill, constraints=constraints)
    if not first.filled:
        return []
    root = _Part({}, ())
    waiting: list[tuple[float, int, _Part, Solution | None]] = [(-first.score, 0, root, first)]
    result: list[Solution] = []
    number = 0
    while waiting and len(result) < count:
        bound, _, part, solution = heapq.heappop(waiting)
        if solution is None:
            solution = solved(part)
            if solution is not None:
                number += 1
                heapq.heappush(waiting, (max(bound, -solution.score), number, part, solution))
            continue
        result.append(solution)
        for child in _without(part, solution.assignment, _order(choices, scores, part.fixed)):
            most = min(_largest(scores, child), solution.score)
            if most > -math.inf:
                number += 1
                heapq.heappush(waiting, (-most, number, child, None))
    return result


def _without(part: _Part, best: Assignment, order: Sequence[Choice]) -> Iterable[_Part]:
    """The architectures of a part but its best, divided by the first choice in which they differ from it."""
    fixed = dict(part.fixed)
    for choice in order:
        taken = np.zeros(len(choice))
        taken[best[choice.name]] = -np.inf
        yield _Part(dict(fixed), (*part.forbidden, Quantity((choice,), taken)))
        fixed[choice.name] = best[choice.name]


def _order(choices: Sequence[Choice], scores: Sequence[Quantity], fixed: Assignment) -> list[Choice]:
    """Those that most scores depend on first: the bound of what is left is tight once they are fixed."""
    uses = {choice: sum(choice in q.over for q in scores) for choice in choices}
    return sorted((c for c in choices if c.name not in fixed), key=lambda c: -uses[c])


def _largest(scores: Sequence[Quantity], part: _Part) -> float:
    """An upper bound of the scores of a part: each score, and what is forbidden of its choices, by itself."""
    forbidden: dict[Choice, Quantity] = {}
    for q in part.forbidden:
        (choice,) = q.over
        forbidden[choice] = forbidden[choice] + q if choice in forbidden else q
    bound = 0.0
    for q in scores:
        table = q.table.astype(np.float64)
        for choice in q.over:
            if choice in forbidden:
                table = table + forbidden[choice].table_over(q.over)
        bound += float(Quantity(q.over, table).fix(part.fixed).table.max())
    return bound
