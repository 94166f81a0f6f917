"""Sums of features: weighted, residual, gated, and of the options of a choice."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, operator, taken
from dnas.ops.tensor import CHANNELS, Axis, Tensor, Value, described
from dnas.space.entries import agreement
from dnas.space.quantity import Quantity, union


@operator("weighted_sum")
class WeightedSum(Operator):
    """sum_i factor_i * x_i of features of one size, factors being plain numbers."""

    factors: tuple[float, ...]
    word = ""

    def wants_masked(self, *x: Tensor) -> bool:
        return not all(tensor.pending for tensor in x)

    def output(self, *x: Tensor) -> Tensor:
        if any(not tensor.same_size(x[0]) for tensor in x):
            raise UserError(f"features of different sizes cannot be added: {described(x)}")
        return Tensor(x[0].axes)

    def apply(self, env: Env, held: Held, y: Tensor, *x: Value) -> Any:
        terms = [v.array if f == 1 else f * v.array for f, v in zip(self.factors, x, strict=True)]
        return functools.reduce(python.add, terms)


@operator("residual")
class Residual(Operator):
    """y + x where the widths agree, y elsewhere; under gates x enters with the probability that they agree."""

    branch = 1
    word = "+ input"

    def agree(self, x: Tensor, y: Tensor) -> Quantity:
        return agreement(x.channels, y.channels)

    def wants_masked(self, *x: Tensor) -> bool:
        return True

    def passes(self, x: Tensor, y: Tensor) -> Tensor | None:
        return y if not self.agree(x, y).max() else None

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        return y.to_mask(False)

    def reads(self, gates: Reads, out: Tensor, x: Tensor, y: Tensor) -> None:
        agree = self.agree(x, y)
        if not agree.is_constant:
            gates.mean(agree)

    def apply(self, env: Env, held: Held, out: Tensor, x: Value, y: Value) -> Any:
        agree, shortcut = self.agree(x.tensor, y.tensor), maths.axes.resized(x.array, out[CHANNELS].length)
        return y.array + (shortcut if agree.is_constant else env.mean(agree) * shortcut)


@operator("excite")
class Excite(Operator):
    """x * s for gates s [1, 1, channels]; x * (1 - on + on * s) where `on` is a choice (Hu et al. 2018, section 3.2).

    The channel mask is applied through the gates, which have no pixels, so that no map or matrix is masked after it.
    """

    on: Quantity
    word = ""
    proportional = 0

    def passes(self, x: Tensor, s: Tensor) -> Tensor | None:
        return None if self.on.max() else x

    def output(self, x: Tensor, s: Tensor) -> Tensor:
        return x.to_mask(False)

    def reads(self, gates: Reads, y: Tensor, x: Tensor, s: Tensor) -> None:
        if not self.on.is_constant:
            gates.mean(self.on)
        if x[CHANNELS].masked:
            gates.mask(x[CHANNELS])

    def apply(self, env: Env, held: Held, y: Tensor, x: Value, s: Value) -> Any:
        gate, mask = s.array, env.pending(x.tensor[CHANNELS])
        if not self.on.is_constant:
            share = env.mean(self.on)
            gate = 1 - share + share * gate
        return x.array * (gate if mask is None else gate * mask)


@operator("mixture")
class Mixture(Operator):
    """sum_i condition_i * x_i for conditions of which exactly one is 1."""

    conditions: tuple[Quantity, ...]

    def passes(self, *x: Tensor) -> Tensor | None:
        return x[0] if all(tensor is x[0] for tensor in x) else None

    def wants_masked(self, *x: Tensor) -> bool:
        return True

    def output(self, *x: Tensor) -> Tensor:
        if any(tensor.names != x[0].names for tensor in x):
            raise UserError(
                "the options differ in kind: they give " + " or ".join(sorted({f"[{', '.join(t.names)}]" for t in x}))
            )
        return Tensor(tuple(self._axis(axes) for axes in zip(*(tensor.axes for tensor in x), strict=True)))

    def _axis(self, axes: tuple[Axis, ...]) -> Axis:
        name, sizes = axes[0].name, [axis.size for axis in axes]
        if name != CHANNELS and all(size.same_as(sizes[0]) for size in sizes):
            return Axis(name, sizes[0])  # whatever the conditions follow from, which may be the resolution too
        size = taken(self.conditions, sizes)
        if name != CHANNELS and set(size.over) & set(union(self.conditions)):
            raise UserError(
                f"the options give maps of different sides (found {size.values()}; accepted: options with the same "
                "stride)"
            )
        return Axis(name, size)

    def reads(self, gates: Reads, y: Tensor, *x: Tensor) -> None:
        for condition in self.conditions:
            gates.mean(condition)

    def apply(self, env: Env, held: Held, y: Tensor, *x: Value) -> Any:
        parts = [maths.axes.resized(v.array, y.axes[-1].length) for v in x]
        return functools.reduce(python.add, [env.mean(c) * p for c, p in zip(self.conditions, parts, strict=True)])

    def memory(self, of: Pass, y: Tensor, *x: Tensor) -> Iterator[Segment]:
        yield Segment(y.length, y.length + sum(tensor.length for tensor in x))
