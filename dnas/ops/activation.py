"""Activations, and choices between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.ops.operator import Env, Held, Operator, Pass, Reads, Segment, Work, operator, options
from dnas.ops.tensor import CHANNELS, COLUMNS, Tensor, Value
from dnas.ops.windows import read_options
from dnas.space.quantity import Product, Quantity

NAMES = ("none", "relu", "relu6", "hswish", "swish", "gelu", "hsigmoid", "sigmoid")


@operator("activation")
class Activation(Operator):
    """Each element's act(x); several options mix elementwise, sum_i g_i act_i(x)."""

    act: Quantity
    word = ""

    def passes(self, x: Tensor) -> Tensor | None:
        return x if self.act.values() == ["none"] else None

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        line = Product(*(x[name].size for name in (CHANNELS, COLUMNS) if name in x.names))
        for name, taken in options(self.act).items():
            if name != "none":
                yield Work("activation", taken, inputs=x.elements, line=line, detail=name)

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_options(gates, self.act)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        taken = options(self.act)
        if len(taken) == 1:
            return maths.activation.ACTIVATIONS[self.act.value](x.array)
        return maths.activation.mixed(tuple(taken), x.array, [env.mean(share) for share in taken.values()])

    def memory(self, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
        names = self.act.values()  # the compiler keeps parts of gelu and of mixtures
        yield Segment(y.length * (1 + (len(names) > 1 or "gelu" in names)), y.length + x.length)
