"""A path through the choices: stages with a small frontier between them, and the joint options of each stage.

The factors of a searched network form (mostly) a chain. `plan` absorbs the largest factor scopes one after the other,
always the one that leaves the smallest frontier (choices already met that later factors still need), and then merges
neighbouring steps where that costs less than the frontier between them. `chain_of` lists, for each stage, every
allowed joint option as an arc from a state of the frontier before it to a state of the frontier after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dnas.errors import UserError
from dnas.solve.elimination import Factor, Over, join
from dnas.solve.model import Model
from dnas.space.quantity import MAX_TABLE, Choice

MERGED_TABLE = 200_000
STATE_WEIGHT = 20
STAGE_WEIGHT = 1_000


class Step(NamedTuple):
    """Frontier before, choices met, frontier after."""

    before: Over
    new: Over
    after: Over


class Arcs(NamedTuple):
    """Joint options of a stage, sorted by the state they leave: the axis is the arc."""

    source: np.ndarray
    target: np.ndarray
    score: np.ndarray
    costs: np.ndarray
    """[costs, arcs]"""
    joint: np.ndarray
    """Flat index into the joint table over `before + new`."""

    def take(self, index: np.ndarray) -> Arcs:
        return Arcs(self.source[index], self.target[index], self.score[index], self.costs[:, index], self.joint[index])


class Chain(NamedTuple):
    """A layered graph: every allowed assignment is one path from state 0 to state 0."""

    steps: list[Step]
    arcs: list[Arcs]
    sizes: list[int]
    """Numbers of states: one more than stages."""

    def assignment(self, path: list[int]) -> dict[str, int]:
        """The options along a path of joint indices (one a stage)."""
        result: dict[str, int] = {}
        for step, joint in zip(self.steps, path, strict=True):
            over = step.before + step.new
            for choice, option in zip(over, np.unravel_index(joint, _shape(over)), strict=True):
                result[choice.name] = int(option)
        return result


def plan(scopes: Iterable[Over]) -> list[Step]:
    """Stages that cover every scope; the same scopes give the same stages."""
    largest = _maximal(list(scopes))
    if not largest:
        return []
    tries = [_absorb(largest, None)]
    for _ in range(2):  # from the far end of the last try: a chain is best entered at an end
        tries.append(_absorb(largest, tries[-1][-1]))
    orders = [_steps(largest, order) for order in tries]
    best = min(orders, key=lambda steps: sum(_size(s.before + s.new) for s in steps))
    return _merge(best)


def lifetimes(steps: list[Step]) -> dict[Choice, int]:
    """In how many stages each choice is present."""
    count: dict[Choice, int] = {}
    for step in steps:
        for choice in step.before + step.new:
            count[choice] = count.get(choice, 0) + 1
    return count


def chain_of(model: Model, steps: list[Step]) -> Chain:
    """The arcs of each stage; constants are carried by the first one."""
    steps = steps or [Step((), (), ())]
    scores, costs = list(model.scores), [list(terms) for terms in model.costs]
    arcs = []
    for step in steps:
        over = step.before + step.new
        score, scores = _take(scores, over)
        parts = [_take(terms, over) for terms in costs]
        costs = [rest for _, rest in parts]
        arcs.append(_arcs(step, join(score, over), [join(mine, over) for mine, _ in parts]))
    return Chain(steps, arcs, [_size(s.before) for s in steps] + [1])


def _arcs(step: Step, score: np.ndarray, costs: list[np.ndarray]) -> Arcs:
    over = step.before + step.new
    flat = np.flatnonzero(score.reshape(-1) > -np.inf)
    options = np.unravel_index(flat, _shape(over)) if over else ()
    position = {c: i for i, c in enumerate(over)}

    def state(of: Over) -> np.ndarray:
        index = np.zeros(len(flat), np.int64)
        for choice in of:
            index = index * len(choice) + options[position[choice]]
        return index

    cost = np.array([c.reshape(-1)[flat] for c in costs]).reshape(len(costs), len(flat))
    arcs = Arcs(state(step.before), state(step.after), score.reshape(-1)[flat], cost, flat)
    return _distinct(arcs)


def _distinct(arcs: Arcs) -> Arcs:
    """Of the arcs between the same states with the same costs only the best one; sorted by source."""
    order = np.lexsort((arcs.joint, -arcs.score, *arcs.costs, arcs.target, arcs.source))
    arcs = arcs.take(order)
    if len(order) < 2:
        return arcs
    same = (arcs.source[1:] == arcs.source[:-1]) & (arcs.target[1:] == arcs.target[:-1])
    same &= (arcs.costs[:, 1:] == arcs.costs[:, :-1]).all(axis=0)
    return arcs.take(np.flatnonzero(np.concatenate([[True], ~same])))


def _take(factors: list[Factor], over: Over) -> tuple[list[Factor], list[Factor]]:
    inside = set(over)
    mine = [f for f in factors if inside.issuperset(f[0])]
    return mine, [f for f in factors if not inside.issuperset(f[0])]


def _maximal(scopes: list[Over]) -> list[Over]:
    sets = [set(s) for s in scopes]
    keep = []
    for i, scope in enumerate(scopes):
        if not any(sets[i] < sets[k] or (sets[i] == sets[k] and k < i) for k in range(len(scopes))):
            keep.append(scope)
    return keep


def _absorb(scopes: list[Over], first: int | None) -> list[int]:
    """Greedy order of the scopes: grow from the frontier, leave the smallest one."""
    uses: dict[Choice, int] = {}
    for scope in scopes:
        for c in scope:
            uses[c] = uses.get(c, 0) + 1
    frontier: dict[Choice, None] = {}
    left, order = list(range(len(scopes))), []

    def frontier_after(i: int) -> dict[Choice, None]:
        mine = set(scopes[i])
        return {c: None for c in (*frontier, *scopes[i]) if uses[c] - (c in mine) > 0}

    def rank(i: int) -> tuple[int, int, int]:
        return _size(frontier_after(i)), _size({**frontier, **dict.fromkeys(scopes[i])}), i

    while left:
        touching = [i for i in left if any(c in frontier for c in scopes[i])]
        chosen = first if first is not None and not order else min(touching or left, key=rank)
        frontier = frontier_after(chosen)
        for c in scopes[chosen]:
            uses[c] -= 1
        left.remove(chosen)
        order.append(chosen)
    return order


def _steps(scopes: list[Over], order: list[int]) -> list[Step]:
    last = {c: k for k, i in enumerate(order) for c in scopes[i]}
    met: dict[Choice, None] = {}
    steps, before = [], ()
    for k, i in enumerate(order):
        new = tuple(c for c in scopes[i] if c not in met)
        met.update(dict.fromkeys(new))
        after = tuple(c for c in before + new if last[c] > k)
        steps.append(Step(before, new, after))
        before = after
    return steps


def _merge(steps: list[Step]) -> list[Step]:
    """Joins neighbouring steps: the cut points with the least sum of tables and frontiers (dynamic programme)."""
    n = len(steps)
    best, cut = [0.0] + [math.inf] * n, [0] * (n + 1)
    for end in range(1, n + 1):
        over = set()
        for start in range(end - 1, -1, -1):
            over.update(steps[start].new)
            size = _size(steps[start].before) * _size(over - set(steps[start].before))
            if start < end - 1 and size > MERGED_TABLE:
                break
            if size > MAX_TABLE:
                names = ", ".join(c.name for c in steps[start].before + steps[start].new)
                raise UserError(f"too many choices of this space depend on one another to be searched ({names})")
            value = best[start] + size + STATE_WEIGHT * _size(steps[end - 1].after) + STAGE_WEIGHT
            if value < best[end]:
                best[end], cut[end] = value, start
    merged: list[Step] = []
    end = n
    while end:
        part = steps[cut[end] : end]
        merged.append(Step(part[0].before, tuple(c for s in part for c in s.new), part[-1].after))
        end = cut[end]
    return merged[::-1]


def _shape(over: Iterable[Choice]) -> tuple[int, ...]:
    return tuple(len(c) for c in over)


def _size(over: Iterable[Choice]) -> int:
    return math.prod(len(c) for c in over)
