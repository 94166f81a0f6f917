"""From the errors of networks drawn from a space to a better space: every list of numbers that a line says should move,
moved as far as what a space must hold allows (`dnas.search.space_quality` has the rule).

What must hold, at every step:

* A list keeps a choice that was measured, for the line says nothing of what lies far from it, and two choices, for
  one alone could never move again. (Ours.)
* What was a multiple stays one: steps are the spacing of the first list. Numbers stay above 0.
* Windows divide the map that they tile: a list takes the next number that does, in the direction of its move.
* Every option makes a difference, and whoever is to use the space accepts it: it can be read and built, its formulas
  and constraints hold, some network within the budgets has each option.

A move that is refused is tried without its outermost option, then shorter.
Where all moves together are refused, those of the steepest lines come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dnas.errors import InputError, UserError
from dnas.grammar.edit import with_options
from dnas.graph import Graph
from dnas.search.space_quality import Line, Number, Quality, Rule, by_choice, line, moved, quality, spacing, steps
from dnas.search.subspaces import Subspace, Subspaces, sides, subspaces
from dnas.solve.many import as_assignment
from dnas.solve.relevance import first_of_same, is_first, relevance
from dnas.space.space import Space

Accept = Callable[[dict[str, Any], Sequence[str]], Space]
"""The space of a document in which the choices named have other options; raises `UserError` for one of no use."""


class Fit(NamedTuple):
    """A line through the E-T errors of a list's choices, from the least to the greatest."""

    subspace: Subspace
    options: tuple[Number, ...]
    """Rising."""
    errors: tuple[float, ...]
    """E-T error of the networks with each option, percentage points; not a number where there are none."""
    line: Line
    gamma: Number
    wanted: int
    """Steps of gamma by the rule."""


class Measured(NamedTuple):
    """A space by the errors of networks drawn from it."""

    parts: Subspaces
    quality: Quality
    fits: tuple[Fit, ...]


class Move(NamedTuple):
    """What became of a list."""

    fit: Fit
    count: int
    """Steps taken."""
    options: tuple[Number, ...]
    """Rising."""
    why: str
    """Why it is not what the rule says; empty where it is."""


def measured(
    space: Space, walked: Graph, rows: Int[np.ndarray, "n choices"], errors: Float[np.ndarray, " n"], tau: float,
    rule: Rule, gammas: Mapping[str, Number],
) -> Measured:  # fmt: skip
    """The space by errors, in percentage points, of networks as rows of option indices.

    `gammas`: steps of lists by name of their subspace, where another than their spacing.
    """
    parts = subspaces(space, walked)
    column = {choice.name: n for n, choice in enumerate(space.choices)}
    used = relevance(space, walked)
    assignments = [as_assignment(row, space.choices) for row in rows]
    fits = []
    for subspace in parts.all:
        if not subspace.numeric:
            continue
        order = np.argsort(np.array(subspace.options, float), kind="stable")
        genes = np.argsort(order)[rows[:, [column[name] for name in subspace.choices]]]
        exists = np.array([[bool(used[name].at(a)) for name in subspace.choices] for a in assignments], bool)
        by_option = by_choice(errors, genes, exists.reshape(genes.shape), len(order))
        fitted = line(by_option)
        options: tuple[Any, ...] = tuple(subspace.options[n] for n in order)
        gamma = gammas.get(subspace.name, spacing(options))
        fits.append(Fit(subspace, options, tuple(by_option.tolist()), fitted, gamma, steps(fitted.slope, tau, rule)))
    return Measured(parts, quality(errors), tuple(fits))


def updated(space: Space, walked: Graph, found: Measured, accept: Accept) -> tuple[Space, list[Move]]:
    """The space after its moves, as `accept` gives it, and what became of each list."""
    tries = {fit.subspace.name: list(_tries(fit, sides(fit.subspace, walked))) for fit in found.fits}

    def attempt(moves: Mapping[str, Move]) -> Space:
        options = {name: _in_order(move) for move in moves.values() for name in move.fit.subspace.choices}
        new = accept(with_options(space, options, found.parts.stages), list(options))
        _must_matter(new, list(options))
        return new

    taken = {name: moves[0] for name, moves in tries.items() if moves}
    after, refused = space, {}
    try:
        after = attempt(taken) if taken else space
    except UserError:
        taken, after, refused = _one_by_one(tries, space, attempt)
    return after, [_told(fit, taken.get(fit.subspace.name), refused.get(fit.subspace.name, "")) for fit in found.fits]


def _one_by_one(
    tries: Mapping[str, list[Move]], space: Space, attempt: Callable[[Mapping[str, Move]], Space]
) -> tuple[dict[str, Move], Space, dict[str, str]]:
    """The moves that are accepted together, the steepest line's first; and why others are not."""
    taken, after, refused = dict[str, Move](), space, dict[str, str]()
    for name in sorted((n for n in tries if tries[n]), key=lambda n: -abs(tries[n][0].fit.line.slope)):
        for move in tries[name]:
            try:
                after = attempt({**taken, name: move})
            except UserError as error:
                refused.setdefault(name, str(error))
                continue
            taken[name] = move
            break
    return taken, after, refused


def _tries(fit: Fit, tiled: set[int]) -> Iterator[Move]:
    """Moves of a list, the one of the rule first, then ever less."""
    most = len(fit.options) - 1
    sign = 1 if fit.wanted > 0 else -1
    far = "fewer steps, so that a choice that was measured stays"
    for count in range(min(abs(fit.wanted), most), 0, -1):
        why = far if abs(fit.wanted) > most else ""
        options = _fitting(moved(fit.options, sign * count, fit.gamma), sign, fit.options, tiled)
        inner = options[:-1] if sign > 0 else options[1:]
        for several in (options, inner):
            # Steps are of the least distance: of options not evenly apart fewer than `most` may leave none.
            if len(several) > 1 and several != fit.options and set(several) & set(fit.options):
                yield Move(fit, sign * count, several, why)


def _fitting(options: Sequence[Number], sign: int, before: Sequence[Number], tiled: set[int]) -> tuple[Number, ...]:
    """The options, of sides of tiles the next ones that divide every map or were there before."""
    if not tiled:
        return tuple(options)
    known = sorted({*before, *(n for n in range(1, max(tiled) + 1) if all(side % min(n, side) == 0 for side in tiled))})
    found = [[n for n in known if (n >= option if sign > 0 else n <= option)] for option in options]
    return tuple(sorted({(several[0] if sign > 0 else several[-1]) for several in found if several}))


def _in_order(move: Move) -> tuple[Number, ...]:
    """The options as the file has them: falling where they fell."""
    before = move.fit.subspace.options
    return move.options[::-1] if before == move.fit.options[::-1] else move.options


def _must_matter(space: Space, names: Sequence[str]) -> None:
    """Raises `InputError` for an option of these choices that gives no network of its own."""
    first = first_of_same(space)
    for name in (n for n in names if n in first):
        own = is_first(first[name]).table
        idle = np.flatnonzero(~own.reshape(len(own), -1).any(axis=1))
        if len(idle):
            options = space.choice(name).options
            raise InputError(name, f"{options[idle[0]]} gives the same networks as another option")


def _told(fit: Fit, move: Move | None, refused: str) -> Move:
    """The move that was made, or none, with its reason."""
    if move is not None:
        further = f"refused further: {refused}" if refused else ""
        return move._replace(why="; ".join(filter(None, [move.why, further])))
    if refused:
        return Move(fit, 0, fit.options, f"refused: {refused}")
    return Move(fit, 0, fit.options, "too few options are left in that direction" if fit.wanted else "")
