"""Sizes of axes of which not the first entries are kept: any set of them, or as many as a vector given later says.

A plain `Quantity` as a size keeps the first entries: its mask is sum_i g_i 1_i (FBNetV2, Wan et al. 2020, eq. 6).
Whoever reads a size asks the same questions of all three: its `length`, whether it is `masked`, which `entries_at` an
assignment are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnas.space.quantity import Assignment, Quantity


@dataclass(frozen=True, eq=False)
class Kept(Quantity):
    """How many of `full` entries are kept, and which: `sets` has a rising tuple of indices for each joint option."""

    full: int
    sets: Quantity

    @property
    def length(self) -> int:
        return self.full

    @property
    def masked(self) -> bool:
        return any(len(kept) < self.full for kept in self.sets.values())

    @property
    def nested(self) -> bool:
        return False

    def entries_at(self, assignment: Assignment) -> np.ndarray:
        return np.array(self.sets.at(assignment), int)

    def fix(self, assignment: Assignment) -> Quantity:
        """Where all is decided, a plain size: what is not kept is gone."""
        sets = self.sets.fix(assignment)
        return cut(self.full, sets.value) if sets.is_constant else kept(self.full, sets)

    def members(self) -> np.ndarray:
        """Whether an entry is kept, [joint options, full]."""
        every = np.arange(self.full)
        return np.stack([np.isin(every, sets) for sets in self.sets.table.reshape(-1).tolist()])

    @property
    def identity(self) -> tuple:
        return ("kept", self.full, self.sets.over, tuple(self.sets.table.reshape(-1).tolist()))


@dataclass(frozen=True, eq=False)
class Cut(Quantity):
    """As many entries as were cut out of `full`. They are all that there is; which ones they were is known."""

    full: int
    entries: tuple[int, ...]

    def fix(self, assignment: Assignment) -> Quantity:
        return self


@dataclass(frozen=True, eq=False)
class Given(Quantity):
    """All entries of an axis, under a mask that a forward pass is given by name: learned gates, tokens that stay."""

    name: str

    @property
    def masked(self) -> bool:
        return True

    def fix(self, assignment: Assignment) -> Quantity:
        """The same: no choice decides it."""
        return self

    @property
    def identity(self) -> tuple:
        return ("given", self.name, self.value)


def kept(of: int, sets: Quantity | Sequence[int]) -> Kept:
    """The size of an axis with `of` entries of which `sets` are kept: one set, or a quantity of sets."""
    if not isinstance(sets, Quantity):
        sets = Quantity.constant(tuple(sets))
    for entries in sets.values():
        assert list(entries) == sorted(set(entries)) and all(0 <= i < of for i in entries), (of, entries)
    counts = Quantity.combine(len, sets)
    return Kept(sets.over, np.broadcast_to(counts.table_over(sets.over), sets.table.shape), of, sets)


def cut(of: int, entries: Sequence[int]) -> Cut:
    """The size of an axis of which the given entries are left."""
    return Cut((), np.array(len(entries)), of, tuple(entries))


def whole(size: Quantity) -> int:
    """Entries of the axis out of which `size` was cut, or is; entries are numbered as there."""
    return size.full if isinstance(size, Cut) else size.length


def left(size: Quantity) -> tuple[int, ...]:
    """The entries that are left of an axis on which nothing is masked."""
    return size.entries if isinstance(size, Cut) else tuple(range(size.value))


def past(size: Quantity, count: int) -> Quantity:
    """The size of an axis that has all but the first `count` entries of another, which are left there."""
    match size:
        case Cut():
            assert size.entries[:count] == tuple(range(count)), size.entries
            return cut(size.full - count, [n - count for n in size.entries[count:]])
        case Given():
            return given(size.name, size.value - count)
    return size - count


def preceded(size: Quantity, count: int) -> Quantity:
    """The size of an axis that has `count` more entries before those of another."""
    match size:
        case Cut():
            return cut(size.full + count, [*range(count), *(n + count for n in size.entries)])
        case Given():
            return given(size.name, size.value + count)
    return size + count


def given(name: str, length: int) -> Given:
    """The size of an axis whose mask comes with each forward pass."""
    return Given((), np.array(length), name)


def repeated(size: Quantity, times: int) -> Quantity:
    """The size of an axis that holds another one so many times, one after another: of each the same entries."""
    if not size.masked:
        return Quantity.constant(times * size.value)

    def sets(kept: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n * size.length + i for n in range(times) for i in kept)

    return kept(times * size.length, Quantity.combine(sets, _sets(size)))


def agreement(a: Quantity, b: Quantity) -> Quantity:
    """1 where two sizes keep the same entries, else 0."""
    if a is b or (not a.over and not b.over and a.identity == b.identity):
        return Quantity.constant(1)
    return _sets(a).equals(_sets(b)) if isinstance(a, Kept) or isinstance(b, Kept) else a.equals(b)


def _sets(size: Quantity) -> Quantity:
    """The entries that are kept, or as many of the first."""
    return size.sets if isinstance(size, Kept) else Quantity.combine(lambda n: tuple(range(n)), size)
