"""Maps cut into windows."""

from __future__ import annotations

from typing import Any

from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, operator
from dnas.ops.tensor import CHANNELS, TOKENS, WINDOWS, Axis, Tensor, Value
from dnas.space.quantity import Quantity


@operator("window_partition")
class WindowPartition(Operator):
    """A map as windows of `side` x `side` pixels, row after row, as the pixels within each are (Liu et al. 2021,
    section 3.2)."""

    side: int
    word = "windows"

    def output(self, x: Tensor) -> Tensor:
        if x.side is None or not x.side.is_constant:
            raise UserError("windows need a map of one size; they cannot be searched over resolutions")
        if x.side.value % self.side:
            raise UserError(f"windows of {self.side} x {self.side} pixels do not fill a map of side {x.side.value}")
        count, pixels = (Quantity.constant(n * n) for n in (x.side.value // self.side, self.side))
        return Tensor((Axis(WINDOWS, count), Axis(TOKENS, pixels), x[CHANNELS]))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        n, height, width, channels = x.array.shape
        w = self.side
        cut = x.array.reshape(n, height // w, w, width // w, w, channels)
        return cut.swapaxes(2, 3).reshape(n, -1, w * w, channels)
