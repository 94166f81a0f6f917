"""Masks, and the order of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.conv import check_groups
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, operator
from dnas.ops.tensor import CHANNELS, Tensor, Value
from dnas.space.entries import Cut, left
from dnas.space.quantity import Quantity


@operator("mask")
class Mask(Operator):
    """The masks that are still to be applied, applied: x * M (FBNetV2, Wan et al. 2020, eq. 6)."""

    resident = False
    proportional = 0

    def passes(self, x: Tensor) -> Tensor | None:
        return None if any(axis.masked for axis in x.axes) else x

    def output(self, x: Tensor) -> Tensor:
        return Tensor(tuple(replace(axis, pending=False) for axis in x.axes))

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        for axis in x.axes:
            if axis.masked:
                gates.mask(axis)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        found = x.array
        for n, axis in enumerate(x.tensor.axes):
            if axis.masked:
                found = found * maths.axes.along(env.mask(axis), len(x.tensor.axes) - 1 - n)
        return found

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from ()


@operator("select")
class Select(Operator):
    """Some of the entries of an axis, in their order: x with the mask of `size` still to be applied, or, where that was
    cut, the entries that are left of it. Entries are numbered as before any of them were cut.

    The mask of channels is taken into what reads them; tokens under a mask are left out where others attend to them.
    """

    size: Quantity
    axis: str = CHANNELS
    resident = False
    word = ""
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        return x.like(**{self.axis: self.size}).to_mask(self.axis == CHANNELS, self.axis)

    @property
    def entries(self) -> tuple[int, ...] | None:
        """Those that are left; None where a mask says which."""
        return None if self.size.masked else left(self.size)

    def places(self, x: Tensor) -> tuple[int, ...] | None:
        """Where they stand on the axis of x; raises `UserError` for one that x has no more."""
        size = x[self.axis].size
        if self.entries is None or not isinstance(size, Cut) or not isinstance(self.size, Cut):
            return self.entries
        missing = next((n for n in self.entries if n not in size.entries), None)
        if missing is not None:
            raise UserError(f"entry {missing} of the {self.axis} was dropped before")
        return tuple(map(size.entries.index, self.entries))

    def passes(self, x: Tensor) -> Tensor | None:
        places = self.places(x)
        all_left = places is not None and len(places) == x[self.axis].length
        return x if all_left or self.size is x[self.axis].size else None

    def wants_masked(self, x: Tensor) -> bool:
        return self.axis == CHANNELS

    def keeping(self, size: Quantity) -> Operator | None:
        return replace(self, size=size) if self.axis == CHANNELS else None

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        places = self.places(x.tensor)
        axis = 1 + x.tensor.names.index(self.axis)
        return x.array if places is None else maths.axes.taken(x.array, places, axis)

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        if self.entries is not None:
            yield Segment(y.length, y.length + x.length)

    def program(self) -> tuple[Any, int]:
        return (self.entries or self.size, self.axis), 0


@operator("channel_shuffle")
class ChannelShuffle(Operator):
    """Channels of the groups interleaved (Zhang et al. 2018, "ShuffleNet")."""

    groups: int
    word = "shuffle"

    def output(self, x: Tensor) -> Tensor:
        check_groups(x.channels, x.channels, self.groups)
        return Tensor(x.axes)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return maths.axes.shuffled(x.array, self.groups)
