"""Order constraints: along a run of choices, options of a list appear only in the order of that list.

`{order: [mb4d, mb3d], of: trunk.7.*.one_of}` allows `mb4d skip mb4d mb3d skip mb3d` and forbids an `mb4d` behind an
`mb3d`: attention only as the last blocks of a stage. Options that are not listed, and choices of blocks that do not
exist, stand anywhere.

Over all pairs of the run that would tie every choice to every other. Instead a state runs along: the highest rank met
so far. It follows from the choices, so it is no decision: it appears in constraints alone, where solvers carry it as
one more variable, and each assignment has exactly one value of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np

from dnas.space.quantity import Choice, Option, Product, Quantity, indicator
from dnas.space.space import Block, Node, OneOf, Stage


def order_constraints(
    run: Sequence[Choice], order: Sequence[Option], nodes: Sequence[Node], name: str
) -> list[Quantity]:
    """One constraint a choice of the run; `name` is what the states are called."""
    given = dict(_conditions(nodes, Quantity.constant(1)))
    state = Quantity.constant(0)
    found = []
    for position, choice in enumerate(run):
        rank = Quantity((choice,), _ranks(choice, order))
        before, state = state, Quantity.of(Choice(f"{name}.{position}", tuple(range(len(order)))))
        found.append(Quantity.combine(_continues, before, state, rank, _existence(choice, given)))
    return found


def matching(choices: Sequence[Choice], pattern: str) -> list[Choice]:
    """The choices whose name matches a pattern with `*`, in order."""
    return [c for c in choices if fnmatchcase(c.name, pattern)]


def _continues(before: int, after: int, rank: int, exists: int) -> int:
    reached = rank if exists and rank >= 0 else before
    return int(after == reached and after >= before)


def _ranks(choice: Choice, order: Sequence[Option]) -> np.ndarray:
    return np.array([order.index(o) if o in order else -1 for o in choice.options])


def _existence(choice: Choice, given: dict[str, Quantity]) -> Quantity:
    """1 where the node to which the choice belongs exists."""
    path = choice.name
    while path and path not in given:
        path = path.rpartition(".")[0]
    return given.get(path, Quantity.constant(1))


def _conditions(nodes: Sequence[Node], given: Quantity) -> Iterator[tuple[str, Quantity]]:
    for node in nodes:
        match node:
            case Block(path=path):
                yield path, given
            case OneOf(path=path, choice=choice, branches=branches):
                yield path, given
                for n, branch in enumerate(branches):
                    taken = indicator(choice, lambda i, n=n: i == n)
                    yield from _conditions([branch], Product(given, taken).joint())
            case Stage(blocks=blocks, depth=depth):
                for position, block in enumerate(blocks):
                    present = Quantity.combine(lambda d, p=position: int(d > p), depth)
                    yield from _conditions([block], Product(given, present).joint())
