"""Tokens: the positions of a map in a row, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, Parameter, Work, operator
from dnas.ops.tensor import CHANNELS, TOKENS, Axis, Tensor, Value
from dnas.space.quantity import Product


@operator("class_token")
class ClassToken(Operator):
    """A learned token before those of x (Dosovitskiy et al. 2021, eq. 1); a map gives its pixels, row after row."""

    word = "+ class token"

    def output(self, x: Tensor) -> Tensor:
        positions = [axis.size for axis in x.axes if axis.name != CHANNELS]
        if not positions or not all(size.is_constant for size in positions):
            raise UserError("a class token needs tokens, or a map of one size; it cannot be searched over resolutions")
        count = Product(*positions).joint() + 1
        return Tensor((Axis(TOKENS, count), x[CHANNELS])).to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"token": Parameter((x.channels,), 0.0)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("class_token", biases=Product(x.channels))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        arrays = x.array.__array_namespace__()  # jax's, which is not imported to read a space
        n, channels = x.array.shape[0], x.array.shape[-1]
        token = arrays.broadcast_to(held["token"], (n, 1, channels))
        return arrays.concat([token, x.array.reshape(n, -1, channels)], axis=1)
