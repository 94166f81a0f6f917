"""Maps cut into windows and put together again, and neighbouring pixels put into channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, Parameter, Work, operator
from dnas.ops.tensor import CHANNELS, COLUMNS, HEADS, KEYS, QUERIES, ROWS, TOKENS, WINDOWS, Axis, Tensor, Value, square
from dnas.space.entries import repeated
from dnas.space.quantity import Product, Quantity


def across(side: int, window: int) -> int:
    """Windows in a row of a map, which has zeros added on the right where they do not fill it."""
    return -(-side // window)


def constant_side(x: Tensor) -> int:
    """Of a map of one size; raises `UserError` for anything else."""
    if x.side is None or not x.side.is_constant:
        raise UserError("windows need a map of one size; they cannot be searched over resolutions")
    return x.side.value


@operator("window_partition")
class WindowPartition(Operator):
    """A map as windows of `side` x `side` pixels, row after row, as the pixels within each are (Liu et al. 2021,
    section 3.2). Before, the map is enlarged by zeros on the right and below to whole windows, and moved by `shift`
    pixels to the left and up, what leaves it coming in on the other side."""

    side: int
    shift: int = 0
    word = "windows"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        count = across(constant_side(x), self.side)
        axes = Axis(WINDOWS, Quantity.constant(count**2)), Axis(TOKENS, Quantity.constant(self.side**2))
        return Tensor((*axes, x[CHANNELS]))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return maths.windows.partition(x.array, self.side, self.shift)


@operator("window_merge")
class WindowMerge(Operator):
    """The map of side `side` of which these are the windows: the inverse of `window_partition`."""

    side: int
    shift: int = 0
    word = "map"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        window = round(x[TOKENS].length ** 0.5)
        if window**2 * x[WINDOWS].length != (across(self.side, window) * window) ** 2:
            raise UserError(f"{x[WINDOWS].length} windows of side {window} are no map of side {self.side}")
        axis = x[CHANNELS]
        return square(Quantity.constant(self.side), axis.size, axis.pending)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return maths.windows.merge(x.array, self.side, self.shift)


@operator("window_bias")
class WindowBias(Operator):
    """Adds a learned number for each head and distance within a window; of a map of side `side` that was moved by
    `shift`, pixels that were no neighbours do not see each other (Liu et al. 2021, section 3.2)."""

    window: int
    side: int
    shift: int = 0
    word = "bias"

    def parameters(self, s: Tensor) -> dict[str, Parameter]:
        return {"table": Parameter(((2 * self.window - 1) ** 2, s[HEADS].size), 0.0, table=True)}

    def output(self, s: Tensor) -> Tensor:
        if s[QUERIES].length != self.window**2 or s[KEYS].length != self.window**2:
            raise UserError(f"scores within windows of side {self.window} are needed")
        return Tensor(s.axes)

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        yield Work("attention_bias", biases=Product((2 * self.window - 1) ** 2, s[HEADS].size))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        biased = s.array + maths.windows.bias(held["table"], self.window)
        return maths.windows.apart(biased, self.side, self.window, self.shift) if self.shift else biased


@operator("space_to_depth")
class SpaceToDepth(Operator):
    """Each 2 x 2 pixels as one of four times the channels, column after column; zeros below and on the right of a map
    of odd side (the patch merging of Liu et al. 2021, section 3.1)."""

    word = "neighbours"

    def output(self, x: Tensor) -> Tensor:
        if x.side is None or not x.side.is_constant:
            raise UserError("merging patches needs a map of one size; it cannot be searched over resolutions")
        half = Quantity.constant(-(-x.side.value // 2))
        return x.like(**{ROWS: half, COLUMNS: half, CHANNELS: repeated(x.channels, 4)})

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return maths.windows.space_to_depth(x.array)
