"""Which blocks of a space are measured, where there are more than time allows.

Blocks that differ only in widths form a group (kind, kernel, stride, flags, activation, and places: the side of the map
or the number of tokens). Kinds with few blocks are measured whole, then one block of the middle of every group of
middle places. After that, of every group the corners of its widths and the middle come first, for the smallest, the
middle and the largest places before the others; then the middles of its faces, then blocks drawn at random. Whatever
the bound cuts off is cut off from the end, and interpolated (`dnas.cost.interpolate`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnas.measure.blocks import BlockSpec, Places

TIED = 0.98
FEW = 64
MOST_BLOCKS = 12_000
"""More would make the table slow to read and interpolation hardly better."""


@dataclass(frozen=True)
class Plan:
    """Blocks in the order in which they are measured, and how long that should take."""

    blocks: tuple[BlockSpec, ...]
    seconds: float
    of: int
    """Distinct blocks of the space that do any work."""
    groups: int
    covered: int
    """Groups of which at least one block is measured."""

    def describe(self, name: str) -> str:
        head = f"{name}: {self.of:,} distinct blocks; measuring {len(self.blocks):,} in about {duration(self.seconds)}"
        if len(self.blocks) == self.of:
            return head
        missed = self.groups - self.covered
        note = f"; NO block of {missed:,} groups (more --minutes would reach them)" if missed else ""
        return (
            f"{head}: corners, then middles of the widths of {self.covered:,} of {self.groups:,} groups (kind, kernel, "
            f"stride, flags, activation, side); the rest is interpolated{note}"
        )


def make_plan(blocks: Sequence[BlockSpec], bound_s: float, cost: Callable[[BlockSpec], float], seed: int = 0) -> Plan:
    """As many blocks as fit into `bound_s` seconds, the most telling first.

    Args:
        cost: seconds that measuring a block takes.
    """
    groups: dict[tuple, list[BlockSpec]] = {}
    for block in blocks:
        groups.setdefault(block.group(), []).append(block)
    chosen: dict[BlockSpec, None] = {}
    seconds = 0.0
    for block in _in_order(groups, np.random.default_rng(seed)):
        if block in chosen:
            continue
        needed = cost(block)
        if chosen and (seconds + needed > bound_s or len(chosen) == MOST_BLOCKS):
            break
        chosen[block] = None
        seconds += needed
    covered = len({b.group() for b in chosen})
    return Plan(tuple(chosen), seconds, len(blocks), len(groups), covered)


def _in_order(groups: dict[tuple, list[BlockSpec]], generator: np.random.Generator) -> Iterator[BlockSpec]:
    """All blocks, the most telling first; shuffled within a level, so that a cut is fair and drift shows nowhere."""
    places: dict[tuple, list[Places]] = {}
    for kind, place, rest in groups:
        places.setdefault((kind, rest), []).append(place)
    main = {family: {min(found), max(found), sorted(found)[len(found) // 2]} for family, found in places.items()}
    levels: dict[tuple[int, bool], list[BlockSpec]] = {}
    for (kind, place, rest), members in groups.items():
        other = place not in main[kind, rest]
        for level, picked in enumerate(_telling(members)):
            levels.setdefault((level, other), []).extend(picked)
    every = [block for members in groups.values() for block in members]
    count = Counter(block.kind for block in every)
    few = [block for block in every if count[block.kind] <= FEW]
    first = [
        _telling(members)[1][0]
        for (kind, place, rest), members in groups.items()
        if place == sorted(places[kind, rest])[len(places[kind, rest]) // 2]
    ]
    order = [(0, False), (1, False), (0, True), (1, True), (2, False), (2, True)]
    for lot in [few, first, *(levels.get(key, []) for key in order), every]:
        for index in generator.permutation(len(lot)):
            yield lot[index]


def _telling(members: Sequence[BlockSpec]) -> list[list[BlockSpec]]:
    """Corners, the middle, and the middles of faces of a group's widths."""
    widths = np.log(np.maximum(np.array([b.widths() for b in members], float), 0.5))
    points = _scaled(widths)
    d = points.shape[1]
    signs = itertools.product((-1, 1), repeat=d) if d <= 4 else np.concatenate([np.eye(d), -np.eye(d)])
    corners = [points @ np.array(s) for s in signs]
    middle = -np.abs(points).sum(1)
    faces = [2 * s * points[:, j] + np.abs(points[:, j]) + middle for j in range(d) for s in (-1, 1)]
    levels = (corners, [middle], faces)
    return [[members[int(np.argmax(score))] for score in scores] for scores in levels]


def _scaled(widths: np.ndarray) -> np.ndarray:
    """Columns from -1 to 1, without those that never vary or only follow another."""
    low, high = widths.min(0), widths.max(0)
    points = (2 * widths - low - high)[:, high > low] / (high - low)[high > low]
    kept: list[int] = []
    for column in range(points.shape[1]):
        x = points[:, column]
        if all(abs(np.corrcoef(x, points[:, other])[0, 1]) < TIED for other in kept):
            kept.append(column)
    return points[:, kept]


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
