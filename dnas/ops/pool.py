"""Means over a map and over windows, and enlargement."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, Work, operator, options
from dnas.ops.tensor import COLUMNS, ROWS, Tensor, Value
from dnas.ops.windows import grids_memory, padding_of, read_options, side_after
from dnas.space.quantity import Product, Quantity


@operator("global_pool")
class GlobalPool(Operator):
    """Mean over a map; over the pixels of the chosen grids where the resolution is a choice.

    `keep` leaves a map of one pixel. `kind` names it in the ledger: a "mean" is a plain reduction, which no counting
    tool sees as a pooling layer. A vector stays as it is: some releases pool twice, and their counts show it.
    """

    kind: str = "pool"
    keep: bool = False
    exact = True
    word = "pool"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        if self.keep:
            return x.like(**dict.fromkeys((ROWS, COLUMNS), Quantity.constant(1)))
        return Tensor(tuple(axis for axis in x.axes if axis.name not in (ROWS, COLUMNS)))

    def passes(self, x: Tensor) -> Tensor | None:
        return x if x.side is None else None

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work(self.kind, inputs=x.elements, outputs=y.elements)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        mean = maths.pool.spatial_mean(x.array, env.pixels(x.tensor))
        return mean[:, None, None] if self.keep else mean

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from ()


@operator("average_pool")
class AveragePool(Operator):
    """Mean over a window around each pixel; cells outside the map do not count. A window of 1 picks pixels."""

    kernel: Quantity
    stride: int = 1
    padding: Quantity | None = None
    word = "local means"
    proportional = 0

    @property
    def zeros(self) -> Quantity:
        """Added on each side."""
        return padding_of(self.kernel, self.padding)

    def output(self, x: Tensor) -> Tensor:
        side = side_after(x.side, self.kernel, self.stride, self.zeros)
        return x.like(**{ROWS: side, COLUMNS: side})

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("average_pool", inputs=Product(self.kernel, self.kernel) * y.elements)

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_options(gates, self.kernel)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        largest, grids = self.kernel.max(), env.grids(x.tensor, y)
        mean, source = maths.pool.scaled_pool, x.array
        if grids is not None and grids.sampled:  # whose zeros around a smaller map are no cells of it
            mean, source = maths.pool.marked_pool, maths.pool.marked(x.array)

        def pooled(side: int) -> Any:
            padding = self.zeros.max() - (largest - side) // 2  # gives the side that the largest window does
            form = maths.conv.Spatial(mean, side, self.stride, padding)
            return maths.mixing.on_grids(form, source, maths.axes.one(source.dtype), grids)

        taken = options(self.kernel)
        if len(taken) == 1:
            return pooled(largest)
        return functools.reduce(python.add, [env.mean(share) * pooled(side) for side, share in taken.items()])

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from grids_memory(of, y, x)
        yield Segment(y.length, y.length + x.length)

    def attributes(self) -> dict[str, Any]:
        return super().attributes() | {"padding": self.zeros.value}


@operator("upsample")
class Upsample(Operator):
    """Bilinear interpolation to `factor` times the side, pixels as areas (corners not aligned)."""

    factor: int
    word = "enlarged"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        if x.side is None:
            raise UserError("only a map can be enlarged")
        return x.like(**{ROWS: x.side * self.factor, COLUMNS: x.side * self.factor})

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("upsample", outputs=y.elements)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        form = maths.conv.Spatial(maths.pool.scaled_upsample, self.factor)
        return maths.mixing.on_grids(form, x.array, maths.axes.one(x.array.dtype), env.grids(x.tensor, y))

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from grids_memory(of, y, x)
        yield Segment(y.length, y.length + x.length)
