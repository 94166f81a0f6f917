"""Convolutions and linear layers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import WEIGHT, Env, Held, Operator, Parameter, Pass, Reads, Segment, Work, operator
from dnas.ops.tensor import CHANNELS, COLUMNS, ROWS, Tensor, Value
from dnas.ops.windows import (
    grids_memory,
    kernels,
    mixed_kernel,
    of_kernel,
    padding_of,
    program_of,
    read_options,
    side_after,
    windows_of,
)  # fmt: skip
from dnas.space.quantity import Assignment, Product, Quantity

ONE = Quantity.constant(1)


def bias_of(out: Quantity, has: bool) -> dict[str, Parameter]:
    """A bias of `out` channels by its name, where there is one."""
    return {"bias": Parameter((out,), 0.0)} if has else {}


def biased(held: Held, y: Any) -> Any:
    """y and the bias, where there is one."""
    return y + held["bias"] if "bias" in held else y


def pointwise(env: Env, held: Held, x: Value, weight: Any) -> Any:
    """A matrix product at every position, of x with its mask, and the bias."""
    form = functools.partial(maths.conv.pointwise, mask=env.pending(x.tensor[CHANNELS]))
    return biased(held, env.product(held, form, x.array, weight))


def on_grids(env: Env, held: Held, form: maths.conv.Spatial, x: Value, weight: Any, grids: Any) -> Any:
    """A convolution on the grids of every resolution, and the bias."""
    return biased(held, env.product(held, lambda x, w: maths.mixing.on_grids(form, x, w, grids), x.array, weight))


def read_pending(gates: Reads, *x: Tensor) -> None:
    """Notes that masks of channels are folded into what comes."""
    for tensor in x:
        if tensor[CHANNELS].masked:
            gates.mask(tensor[CHANNELS])


def check_groups(channels: Quantity, out: Quantity, groups: int) -> None:
    """Raises `UserError` for widths that groups cannot share."""
    if channels.masked or out.masked:
        raise UserError("groups need fixed widths: the channels of a group would move with the width")
    if channels.value % groups or out.value % groups:
        raise UserError(f"{channels.value} to {out.value} channels cannot be split into {groups} groups")


@operator("conv")
class Conv(Operator):
    """Convolution to `out` channels. Several kernels mix before it: one convolution serves all."""

    out: Quantity
    kernel: Quantity = ONE
    stride: int = 1
    padding: Quantity | None = None
    groups: int = 1
    bias: bool = False
    operands = 1
    second = WEIGHT
    sums_channels = True

    @property
    def zeros(self) -> Quantity:
        """Added on each side."""
        return padding_of(self.kernel, self.padding)

    @property
    def pixelwise(self) -> bool:
        """Whether each pixel of the result follows from one of the input's, at the same place."""
        return self.kernel.max() == 1 and self.stride == 1 and not self.zeros.max()

    def output(self, x: Tensor) -> Tensor:
        if self.groups > 1:
            check_groups(x.channels, self.out, self.groups)
        side = side_after(x.side, self.kernel, self.stride, self.zeros)
        return x.like(**{ROWS: side, COLUMNS: side, CHANNELS: self.out}).to_mask(True)

    def fan(self, x: Tensor) -> Quantity:
        """Input channels of a group."""
        return x.channels if self.groups == 1 else x.channels // self.groups

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return kernels(self.kernel, self.fan(x), self.out) | bias_of(self.out, self.bias)

    def keeping(self, size: Quantity) -> Operator:
        return replace(self, out=size)

    def inherited(self, stored: Mapping[str, Any], assignment: Assignment, *x: Tensor) -> dict[str, Any]:
        return of_kernel(self.kernel, assignment, super().inherited(stored, assignment, *x))

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        weights = Product(self.kernel * self.kernel, self.fan(x), self.out)
        yield Work(
            "conv", macs=weights * y[ROWS].size * y[COLUMNS].size, weights=weights,
            biases=Product(self.out, int(self.bias)), fan_of_bias=Product(self.fan(x), int(self.bias)),
        )  # fmt: skip

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_options(gates, windows_of(self.kernel, self.zeros).places)
        read_pending(gates, x)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        if self.pixelwise and self.groups == 1:
            return pointwise(env, held, x, mixed_kernel(env, held, self.kernel, self.zeros)[0, 0])
        w = self.masked_kernel(env, held, x.tensor)
        form = maths.conv.Spatial(maths.conv.conv, self.stride, self.zeros.max(), self.groups)
        return on_grids(env, held, form, x, w, None if self.pixelwise else env.grids(x.tensor, y))

    def masked_kernel(self, env: Env, held: Held, x: Tensor) -> Any:
        """The kernels mixed, with the mask of the input's channels in them."""
        w, mask = mixed_kernel(env, held, self.kernel, self.zeros), env.pending(x[CHANNELS])
        return w if mask is None else w * mask[:, None]

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        if not self.pixelwise:
            yield from grids_memory(of, y, x)
        yield self.product_memory(y, x)

    def product_memory(self, y: Tensor, x: Tensor) -> Segment:
        """A result lies there with its bias and without, both read by the norm after it; a kernel is copied with the
        mask in it."""
        weights = self.kernel.max() ** 2 * x[CHANNELS].length * y[CHANNELS].length // self.groups
        copied = x[CHANNELS].masked and not self.pixelwise
        return Segment((1 + self.bias) * y.length, y.length + x.length, weights * copied)

    def program(self) -> tuple[Any, int]:
        window, size = program_of(self.kernel, self.zeros)
        single = self.kernel.is_constant and self.kernel.value == 1
        return (self.out, window, single, self.stride, self.groups, self.bias), size

    def attributes(self) -> dict[str, Any]:
        return super().attributes() | {"padding": self.zeros.value}


@operator("depthwise")
class Depthwise(Operator):
    """One kernel a channel. Several kernels mix before the convolution."""

    kernel: Quantity
    stride: int = 1
    padding: Quantity | None = None
    bias: bool = False
    second = WEIGHT

    @property
    def zeros(self) -> Quantity:
        """Added on each side."""
        return padding_of(self.kernel, self.padding)

    def output(self, x: Tensor) -> Tensor:
        side = side_after(x.side, self.kernel, self.stride, self.zeros)
        return x.like(**{ROWS: side, COLUMNS: side}).to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return kernels(self.kernel, x.channels) | bias_of(x.channels, self.bias)

    def inherited(self, stored: Mapping[str, Any], assignment: Assignment, *x: Tensor) -> dict[str, Any]:
        return of_kernel(self.kernel, assignment, super().inherited(stored, assignment, *x))

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        weights = Product(self.kernel * self.kernel, x.channels)
        yield Work(
            "conv", macs=weights * y[ROWS].size * y[COLUMNS].size, weights=weights,
            biases=Product(x.channels, int(self.bias)), fan_of_bias=Product(int(self.bias)),
        )  # fmt: skip

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_options(gates, windows_of(self.kernel, self.zeros).places)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        w = mixed_kernel(env, held, self.kernel, self.zeros)
        form = maths.conv.Spatial(maths.conv.depthwise, self.stride, self.zeros.max())
        return on_grids(env, held, form, x, w, env.grids(x.tensor, y))

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield from grids_memory(of, y, x)
        padded = x[CHANNELS].length * (x[ROWS].length + self.kernel.max() - 1) ** 2
        alone = 0 if of.backward else padded + self.bias * y.length
        yield Segment(y.length, y.length + x.length + alone)

    def program(self) -> tuple[Any, int]:
        window, size = program_of(self.kernel, self.zeros)
        return (window, self.stride, self.bias), size

    def attributes(self) -> dict[str, Any]:
        return super().attributes() | {"padding": self.zeros.value}


@operator("linear")
class Linear(Operator):
    """Linear layer on the channels, at every position alike."""

    out: Quantity
    bias: bool = True
    operands = 1
    second = WEIGHT
    sums_channels = True

    def output(self, x: Tensor) -> Tensor:
        return x.like(**{CHANNELS: self.out}).to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"weight": Parameter((x.channels, self.out))} | bias_of(self.out, self.bias)

    def keeping(self, size: Quantity) -> Operator:
        return replace(self, out=size)

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        weights = Product(x.channels, self.out)
        positions = (axis.size for axis in x.axes if axis.name != CHANNELS)
        biases = Product(self.out, int(self.bias))
        yield Work("linear", macs=weights * Product(*positions), weights=weights, biases=biases)

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_pending(gates, x)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return pointwise(env, held, x, held["weight"])


@operator("pointwise")
class Pointwise(Linear):
    """Linear layer on a map of one pixel, which others write, and count, as a 1x1 convolution."""

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        weights, biases = Product(x.channels, self.out), Product(self.out, int(self.bias))
        fan = Product(x.channels, int(self.bias))
        yield Work("conv", macs=weights, weights=weights, biases=biases, fan_of_bias=fan)

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        yield Segment(y.length, y.length + x.length, x[CHANNELS].length * y[CHANNELS].length * x[CHANNELS].masked)


@operator("circulant")
class Circulant(Operator):
    """A linear layer from a width to itself whose matrix consists of `blocks` x `blocks` circulant ones (augmented
    shortcuts, Tang et al. 2021, section 3.3): entry (r, c) of a block of side d' is its coefficient (r - c) mod d'.

    Counted as the dense matrix that is multiplied; `maths.circulant.by_fft` is the same by Fourier transforms.
    """

    blocks: int = 4
    bias: bool = True
    operands = 1
    second = "coefficients"

    def output(self, x: Tensor) -> Tensor:
        if x.channels.masked or x.channels.value % self.blocks:
            raise UserError(f"a circulant layer needs one width, a multiple of {self.blocks}")
        return Tensor(x.axes)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        width = x.channels.value
        shape = (self.blocks, self.blocks, width // self.blocks)
        # The authors' variance, which torch's linear layers have: He et al. 2015 for a leaky slope a of sqrt(5), a gain
        # of 2 / (1 + a^2).
        return {"coefficients": Parameter(shape, fan=width, gain=1 / 3)} | bias_of(x.channels, self.bias)

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        positions = (axis.size for axis in x.axes if axis.name != CHANNELS)
        macs = Product(x.channels, x.channels, *positions)
        weights, biases = Product(self.blocks, x.channels), Product(x.channels, int(self.bias))
        yield Work("linear", macs=macs, weights=weights, biases=biases)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        weight = maths.circulant.dense(held["coefficients"])
        return biased(held, env.product(held, maths.conv.pointwise, x.array, weight))
