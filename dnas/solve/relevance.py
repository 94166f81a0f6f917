"""Which choices matter: a kernel inside a branch not taken, or a squeeze-excite width without squeeze-excite, does not.

An architecture is what its exported file says, so different assignments of options can mean the same architecture.
Everything here follows from the *facts* of a space: pairs (active, value) such that the file states `value`, or what
comes to the same for the block (a window larger than the map is the map), where `active` is 1. Two options of a choice
are the same, given the other choices, where every active fact agrees; of options that are the same the first stands
for all. From that follow the relevance of a choice, the number of distinct architectures, and the probability of an
architecture rather than of one of its spellings.

What is not found: two *pairs* of options that are the same although no single choice between them is (a*b = b*a).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dnas.blocks import KINDS
from dnas.graph import Graph, graph_of
from dnas.solve.elimination import log_sum_exp
from dnas.space.quantity import Assignment, Choice, Product, Quantity, indicator, union
from dnas.space.space import Block, Node, OneOf, Space, Stage

MAX_ENTRIES = 100_000
"""Above this size of a joint table every option of the choice counts as different and relevant."""


@dataclass(frozen=True, eq=False)
class Fact:
    """The exported file states `value`, or what comes to the same, where `active` is 1."""

    active: Quantity
    value: Quantity


def facts(space: Space, network: Graph | None = None) -> list[Fact]:
    """Everything that tells one architecture of the space from another."""
    network = network or graph_of(space)
    found = [Fact(Quantity.constant(1), space.resolution)]
    # Options that differ in what a constraint says of them are not the same: one of them may be forbidden.
    found += [Fact(Quantity.constant(1), constraint) for constraint in space.constraints]
    found += _of_nodes(space.nodes, Quantity.constant(1))
    for use in network.uses:
        for name, field in KINDS[use.kind].fields.items():
            value = use.effective[name]
            if field.written == "never" or value.is_constant:
                continue
            active = use.given
            if field.part_of is not None:
                active = Product(active, Quantity.combine(int, use.fields[field.part_of])).joint()
            found.append(Fact(active, value))
    return [f for f in found if not f.value.is_constant and f.active.max()]


def _of_nodes(nodes: Sequence[Node], given: Quantity) -> list[Fact]:
    """Which branches are taken and how many blocks exist."""
    found: list[Fact] = []
    for node in nodes:
        match node:
            case OneOf(choice=choice, branches=branches):
                found.append(Fact(given, Quantity((choice,), np.arange(len(choice)))))
                for n, branch in enumerate(branches):
                    taken = Product(given, indicator(choice, lambda i, n=n: i == n)).joint()
                    found += _of_nodes([branch], taken)
            case Stage(blocks=blocks, depth=depth):
                found.append(Fact(given, depth))
                for position, block in enumerate(blocks):
                    present = Quantity.combine(lambda d, p=position: int(d > p), depth)
                    found += _of_nodes([block], Product(given, present).joint())
            case Block():
                pass
    return found


def first_of_same(space: Space, network: Graph | None = None) -> dict[str, Quantity]:
    """Choice name -> table over (choice, others): the index of the first option that is the same as each option."""
    everything = facts(space, network)
    return {c.name: _first_of_same(c, [f for f in everything if c in f.value.over]) for c in space.choices}


def _first_of_same(choice: Choice, mine: list[Fact]) -> Quantity:
    count = len(choice)
    identity = Quantity((choice,), np.arange(count))
    # Small tables first: usually one or two facts already tell all options apart, and the rest need no look.
    mine = sorted(mine, key=lambda f: (len(union((f.active, f.value))), f.value.table.size))
    first = Quantity((choice,), np.zeros(count, dtype=np.int64))
    for fact in mine:
        over = (choice, *(c for c in union((first, fact.active, fact.value)) if c != choice))
        shape = tuple(len(c) for c in over)
        if np.prod(shape, dtype=np.float64) > MAX_ENTRIES:
            return identity
        stated = np.where(fact.active.table_over(over), _codes(fact.value.table_over(over)), -1)
        before = np.broadcast_to(first.table_over(over), shape)
        after = _first_equal(before, np.broadcast_to(stated, shape))
        first = _without_idle_axes(Quantity(over, after))
        if first.over == (choice,) and np.array_equal(first.table, identity.table):
            break
    return first


def _codes(table: np.ndarray) -> np.ndarray:
    """Equal values as equal integers from 0."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(v, len(known)) for v in table.reshape(-1).tolist()]).reshape(table.shape)


def _first_equal(before: np.ndarray, stated: np.ndarray) -> np.ndarray:
    """Along the first axis: the first index that agrees in both tables, of integers from 0 and from -1."""
    both = before * (int(stated.max()) + 2) + stated + 1
    order = np.argsort(both, axis=0, kind="stable")  # equal ones side by side, the first of them in front
    rows = np.arange(len(both)).reshape(-1, *[1] * (both.ndim - 1))
    ordered = np.take_along_axis(both, order, 0)
    opens = np.concatenate([np.ones_like(ordered[:1], bool), ordered[1:] != ordered[:-1]])
    front = np.maximum.accumulate(np.where(opens, rows, 0), axis=0)
    after = np.empty_like(before)
    np.put_along_axis(after, order, np.take_along_axis(order, front, 0), 0)
    return after


def _without_idle_axes(quantity: Quantity) -> Quantity:
    """As `Quantity.simplify`, but the choice itself (the first axis) stays even where all its options are the same."""
    over, table = list(quantity.over), quantity.table
    for axis in reversed(range(1, len(over))):
        head = table.take([0], axis=axis)
        if np.all(table == head):
            table = head.squeeze(axis)
            del over[axis]
    return Quantity(tuple(over), table)


def is_first(first: Quantity) -> Quantity:
    """1 where an option stands for itself (`first_of_same`)."""
    own = np.arange(len(first.table)).reshape(-1, *[1] * (first.table.ndim - 1))
    return Quantity(first.over, first.table == own)


def canonical(first: Mapping[str, Quantity], assignment: Mapping[str, int]) -> dict[str, int]:
    """The same architecture with the first option of each choice among those that mean the same (`first_of_same`)."""
    spelled, before = dict(assignment), None
    while before != spelled:
        before = dict(spelled)
        for name, table in first.items():
            spelled[name] = int(table.at(spelled))
    return spelled


def relevance(space: Space, network: Graph | None = None) -> dict[str, Quantity]:
    """Choice name -> 1 where, given the other choices, its options make a difference, else 0."""
    result = {}
    for name, first in first_of_same(space, network).items():
        result[name] = Quantity(first.over[1:], (first.table.max(axis=0) > 0).astype(np.int64)).simplify()
    return result


def unused(space: Space, assignment: Assignment, network: Graph | None = None) -> frozenset[str]:
    """The choices that make no difference to this architecture: those inside a block that is skipped, above all."""
    return frozenset(name for name, used in relevance(space, network).items() if not used.at(assignment))


def size_factors(space: Space, network: Graph | None = None) -> list[Quantity]:
    """Factors whose `log_total` is the logarithm of the number of distinct architectures (constraints apart)."""
    factors = []
    for first in map(is_first, first_of_same(space, network).values()):
        with np.errstate(divide="ignore"):
            factors.append(Quantity(first.over, np.log(first.table.astype(np.float64))))
    return factors


def score_factors(space: Space, log_probs: Mapping[str, np.ndarray], network: Graph | None = None) -> list[Quantity]:
    """Factors whose sum is the log-probability of the architecture, one factor a choice.

    Args:
        space: the space.
        log_probs: choice name -> log of its probabilities, normalised.
        network: the walk of `space`, if there is one already.

    A choice that always matters gives its log-probabilities. Where options are the same, the first carries the
    probability of all of them (1 where the choice does not matter at all) and the others are forbidden (-inf), so
    every architecture has one spelling and irrelevant choices neither count nor duplicate it.
    """
    factors = []
    for choice, first in zip(space.choices, first_of_same(space, network).values(), strict=True):
        logs = np.asarray(log_probs[choice.name], dtype=np.float64)
        if first.over == (choice,) and np.array_equal(first.table, np.arange(len(choice))):
            factors.append(Quantity((choice,), logs))
            continue
        logs = np.broadcast_to(logs.reshape(-1, *[1] * (first.table.ndim - 1)), first.table.shape)
        table = np.empty(first.table.shape)
        for k in range(len(choice)):
            members = np.where(first.table == k, logs, -np.inf)
            table[k] = log_sum_exp(np.moveaxis(members, 0, -1))
        idle = (first.table == 0).all(axis=0)
        table[0] = np.where(idle, 0.0, table[0])  # exactly, whatever the rounding of the probabilities
        factors.append(Quantity(first.over, table))
    return factors
