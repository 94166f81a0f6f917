"""Masks, and the order of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dnas import maths
from dnas.ops.conv import check_groups
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, operator
from dnas.ops.tensor import CHANNELS, Tensor, Value
from dnas.space.entries import Cut
from dnas.space.quantity import Quantity


@operator("mask")
class Mask(Operator):
    """The masks that are still to be applied, applied: x * M (FBNetV2, Wan et al. 2020, eq. 6)."""

    resident = False

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
    """Some of the channels, in their order: x with the mask of `size` still to be applied, or, where that was cut, the
    entries that are left of it."""

    size: Quantity
    resident = False
    word = ""

    def output(self, x: Tensor) -> Tensor:
        return x.like(**{CHANNELS: self.size}).to_mask(True)

    @property
    def entries(self) -> tuple[int, ...] | None:
        """Those that are left; None where a mask says which."""
        if isinstance(self.size, Cut):
            return self.size.entries
        return None if self.size.masked else tuple(range(self.size.value))

    def passes(self, x: Tensor) -> Tensor | None:
        return x if self.entries is not None and len(self.entries) == x[CHANNELS].length else None

    def wants_masked(self, x: Tensor) -> bool:
        return True

    def keeping(self, size: Quantity) -> Operator:
        return replace(self, size=size)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array if self.entries is None else x.array[..., np.array(self.entries)]

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        if self.entries is not None:
            yield Segment(y.length, y.length + x.length)

    def program(self) -> tuple[Any, int]:
        return (self.entries or self.size,), 0

    def attributes(self) -> dict[str, Any]:
        return {"entries": self.entries}


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
