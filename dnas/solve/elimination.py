"""Exact variable elimination: the best sum of factors, the logarithm of a sum over all assignments, draws.

A function of many choices that is a sum of small tables (`Quantity`) needs no enumeration: choices are eliminated one
after the other, each time joining only the tables that mention the choice. The order is greedy: the choice whose joint
table is smallest, then the one that connects the fewest new pairs, then the first to appear, so results are
reproducible. Cost is the size of the largest joint table; a space where that is beyond `MAX_TABLE` is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np

from dnas.errors import UserError
from dnas.space.quantity import MAX_TABLE, Choice, Quantity, union

Over = tuple[Choice, ...]
Factor = tuple[Over, Any]
"""Choices, and an array over their options."""
NOTHING = "the constraints of the space exclude every architecture"


def optimum(
    factors: Sequence[Quantity], sense: Literal["max", "min"] = "max", constraints: Iterable[Quantity] = ()
) -> tuple[float, dict[str, int]]:
    """The best sum of the factors and an assignment, of every choice that occurs, that reaches it.

    Args:
        factors: terms of the sum; forbidden joint options are -inf (`max`) or +inf (`min`).
        sense: whether the largest or the smallest sum is best.
        constraints: quantities that must be non-zero.

    Ties go to the lowest option index, choice by choice, so the answer is deterministic. Raises `UserError` where
    nothing is allowed.
    """
    sign = 1.0 if sense == "max" else -1.0
    tables = [(q.over, sign * q.table.astype(np.float64)) for q in factors] + [log_indicator(q) for q in constraints]
    trace: list[tuple[Choice, Over, np.ndarray]] = []

    def best(choice: Choice, rest: Over, joint: np.ndarray) -> np.ndarray:
        trace.append((choice, rest, joint.argmax(axis=-1)))
        return joint.max(axis=-1)

    value = float(_eliminate(tables, best))
    if value == -math.inf:
        raise UserError(NOTHING)
    assignment: dict[str, int] = {}
    for choice, rest, argbest in reversed(trace):
        assignment[choice.name] = int(argbest[tuple(assignment[c.name] for c in rest)])
    return sign * value, assignment


def log_total(factors_log: Sequence[Quantity], constraints: Iterable[Quantity] = ()) -> float:
    """log of the sum, over all assignments of the choices that occur, of exp(sum of factors); -inf where empty.

    With factors 0 (allowed) and -inf (forbidden) this is the logarithm of a count. Each elimination is a stable
    log-sum-exp over one choice, so the relative error of a count of 1e45 stays near 1e-14.
    """
    tables = [(q.over, q.table.astype(np.float64)) for q in factors_log] + [log_indicator(q) for q in constraints]
    return float(_eliminate(tables, lambda _choice, _rest, joint: log_sum_exp(joint)))


class Draws:
    """Exact draws of every choice that constraints mention, from independent probabilities among what they allow.

    Args:
        constraints: quantities that must be non-zero.
        log_p: logarithms of probabilities; of a choice without, all options are equally probable.

    Raises:
        UserError: nothing is allowed.
    """

    def __init__(self, constraints: Iterable[Quantity], log_p: Sequence[Quantity] = ()):
        tables = [log_indicator(q) for q in constraints]
        mentioned = {c for over, _ in tables for c in over}
        own = [(q.over, q.table) for q in log_p if mentioned.issuperset(q.over)]
        self.trace, total = conditionals([*tables, *own], log_sum_exp)
        if total == -math.inf:
            raise UserError(NOTHING)

    def draw(self, random: np.random.Generator) -> dict[str, int]:
        """An assignment; of states that constraints carry, too."""
        drawn: dict[str, int] = {}
        for choice, rest, joint in reversed(self.trace):
            logs = joint[tuple(drawn[c.name] for c in rest)]
            shares = np.exp(logs - logs.max())
            drawn[choice.name] = int(random.choice(len(choice), p=shares / shares.sum()))
        return drawn

    def several(self, random: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent assignments, as option indices [count] of each choice."""
        drawn: dict[str, np.ndarray] = {}
        for choice, rest, joint in reversed(self.trace):
            logs = joint[tuple(drawn[c.name] for c in rest)]
            drawn[choice.name] = np.argmax(logs + random.gumbel(size=(count, len(choice))), axis=-1)
        return drawn


Conditional = tuple[Choice, Over, Any]
"""A choice, the choices that it depends on, and a table of logarithms over these and it: its probability given them,
but for a factor."""


def conditionals(tables: list[Factor], log_sum_exp: Callable[[Any], Any]) -> tuple[list[Conditional], float]:
    """The conditional of each choice, given those that come after it in the list; and the logarithm of the whole sum.

    Eliminating a choice leaves, for each option of the rest, the sum over what was eliminated so far; read backwards,
    these give the probability of each option among what was drawn already. Tables may be numpy's or JAX's.
    """
    trace: list[Conditional] = []

    def summed(choice: Choice, rest: Over, joint: Any) -> Any:
        trace.append((choice, rest, joint))
        return log_sum_exp(joint)

    return trace, _eliminate(tables, summed)


def log_indicator(constraint: Quantity) -> Factor:
    """0 where the constraint holds (non-zero), else -inf."""
    return constraint.over, np.where(constraint.table.astype(bool), 0.0, -np.inf)


def log_sum_exp(joint: np.ndarray) -> np.ndarray:
    """Over the last axis; -inf rows stay -inf."""
    top = joint.max(axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(joint - top).sum(axis=-1)) + top[..., 0]


def elimination_order(scopes: Iterable[Over]) -> list[Choice]:
    """Greedy order: smallest joint table, then fewest new pairs, then first appearance."""
    scopes = list(scopes)
    choices = tuple(dict.fromkeys(c for over in scopes for c in over))
    near: dict[Choice, set[Choice]] = {c: set() for c in choices}
    for over in scopes:
        for c in over:
            near[c].update(over)
    for c in choices:
        near[c].discard(c)
    order: list[Choice] = []
    left = list(choices)
    while left:
        sizes = [math.prod(len(n) for n in near[c]) * len(c) for c in left]
        smallest = min(sizes)
        tied = [c for c, size in zip(left, sizes, strict=True) if size == smallest]
        chosen = min(tied, key=lambda c: _fill(near, c)) if len(tied) > 1 else tied[0]
        for other in near[chosen]:
            near[other].update(near[chosen])
            near[other] -= {other, chosen}
        del near[chosen]
        left.remove(chosen)
        order.append(chosen)
    return order


def _fill(near: dict[Choice, set[Choice]], choice: Choice) -> int:
    return sum(b not in near[a] for a, b in combinations(near[choice], 2))


def _eliminate(tables: list[Factor], reduce: Callable[[Choice, Over, Any], Any]) -> Any:
    """Applies `reduce` over one choice after the other (the last axis of the joint table); the sum that is left."""
    rank = {c: i for i, c in enumerate(union(Quantity(over, table) for over, table in tables))}
    for choice in elimination_order([over for over, _ in tables]):
        mine = [f for f in tables if choice in f[0]]
        tables = [f for f in tables if choice not in f[0]]
        rest = tuple(sorted({c for over, _ in mine for c in over if c != choice}, key=rank.__getitem__))
        over = (*rest, choice)
        _shape(over)  # refuses what is too large before it is joined
        joint = sum(Quantity(own, table).table_over(over) for own, table in mine)
        tables.append((rest, reduce(choice, rest, joint)))
    return sum((table for _, table in tables), 0.0)


def join(factors: Iterable[Factor], over: Over) -> np.ndarray:
    """The sum of the factors as one table over `over`; refuses a table that would be too large."""
    return np.zeros(_shape(over)) + sum(Quantity(mine, table).table_over(over) for mine, table in factors)


def _shape(over: Over) -> tuple[int, ...]:
    """Of a table over these choices; raises `UserError` where it would be too large."""
    shape = tuple(len(c) for c in over)
    if math.prod(shape) > MAX_TABLE:
        raise UserError(
            f"too many choices of this space depend on one another to be searched exactly ({math.prod(shape):,} "
            f"combinations of {', '.join(c.name for c in over)}); tie some of them or give them fewer options"
        )
    return shape
