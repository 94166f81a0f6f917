"""Norms, and factors a channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dnas import maths
from dnas.ops.operator import Env, Held, Operator, Parameter, Pass, Reads, Segment, Work, operator
from dnas.ops.tensor import CHANNELS, Tensor, Value
from dnas.space.quantity import Assignment, Product

EPSILON = 1e-5
"""Added to variances."""
OF_WIDTH = "_of_width"
"""Ends the name of a parameter that holds, width after width, what each adds to the one without it."""


@operator("batch_norm")
class BatchNorm(Operator):
    """Normalises each channel over the batch and all positions (Ioffe and Szegedy 2015).

    `masked` applies the channel mask through its scale and shift. `switchable`: where the width is a choice, every
    width has a scale and a shift of its own (Yu et al. 2019, "Slimmable neural networks", section 3.3); any one network
    has one of each, and costs no more.
    """

    masked: bool = False
    start: float = 1.0
    switchable: bool = False
    exact = True
    resident = False
    word = ""
    subtracted = "mean"

    def switched(self, x: Tensor) -> bool:
        return self.switchable and x.channels.nested and not x.channels.is_constant

    def output(self, x: Tensor) -> Tensor:
        return x.to_mask(not self.masked)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        size = (x.channels,)
        found = {
            "scale": Parameter(size, self.start), "shift": Parameter(size, 0.0),
            "mean": Parameter(size, 0.0, statistic=True), "var": Parameter(size, 1.0, statistic=True),
        }  # fmt: skip
        if self.switched(x):
            # Flat, as every scale and shift is: what has several axes is decayed.
            table = (len(x.channels.values()) * x[CHANNELS].length,)
            found |= {name + OF_WIDTH: Parameter(table, 0.0) for name in ("scale", "shift")}
        return found

    def inherited(self, stored: Mapping[str, Any], assignment: Assignment, *x: Tensor) -> dict[str, Any]:
        found = super().inherited(stored, assignment, *x)
        if self.switched(x[0]):
            widths = sorted(x[0].channels.values())
            row, count = widths.index(x[0].channels.at(assignment)), found["scale"].shape[0]
            for name in ("scale", "shift"):
                of_width = found.pop(name + OF_WIDTH)
                found[name] = found[name] + of_width.reshape(len(widths), -1)[row, :count]
        return found

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("batch_norm", affine=Product(x.channels, 2), inputs=x.elements)

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        if self.masked and x.channels.masked:
            gates.mask(x[CHANNELS])
        if self.switched(x):
            gates.shares(x.channels)

    def affine(self, env: Env, held: Held, x: Tensor) -> tuple[Any, Any]:
        """Scale and shift of every channel."""
        parts = held["scale"], held["shift"]
        if self.masked and x.channels.masked:
            mask = env.mask(x[CHANNELS])
            parts = parts[0] * mask, parts[1] * mask
        if self.switched(x):
            shares, widths = env.shares(x.channels), x.channels.values()
            tables = held["scale" + OF_WIDTH], held["shift" + OF_WIDTH]
            scale, shift = (maths.norm.of_width(table, shares, widths, self.masked) for table in tables)
            parts = parts[0] + scale, parts[1] + shift
        return parts

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        scale, shift = self.affine(env, held, x.tensor)
        mean, variance = env.moments(held, lambda: maths.norm.moments(x.array, env.pixels(x.tensor)))
        return maths.norm.normalised(x.array, mean, variance, scale, shift, EPSILON)

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from ()


@operator("layer_norm")
class LayerNorm(Operator):
    """Normalises over the channels of every position (Ba et al. 2016), under a mask over those that are kept alone."""

    epsilon: float = EPSILON
    exact = True
    across = True

    def output(self, x: Tensor) -> Tensor:
        return x.to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"scale": Parameter((x.channels,), 1.0), "shift": Parameter((x.channels,), 0.0)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("layer_norm", affine=Product(x.channels, 2), inputs=x.elements)

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        if x.channels.masked:
            gates.mask(x[CHANNELS])

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        axis, value = x.tensor[CHANNELS], x.array
        mask = env.mask(axis) if axis.size.masked else None
        value = value * mask if axis.masked else value
        return maths.norm.layer_norm(value, mask, self.epsilon) * held["scale"] + held["shift"]


@operator("layer_scale")
class LayerScale(Operator):
    """A learned factor a channel, `start` at first (CaiT, Touvron et al. 2021)."""

    start: float
    resident = False
    word = ""
    proportional = 0

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"scale": Parameter((x.channels,), self.start)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("layer_scale", affine=Product(x.channels))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array * held["scale"]

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from ()
