"""Masks, and the order of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dnas import maths
from dnas.ops.conv import check_groups
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, operator
from dnas.ops.tensor import Tensor, Value


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
