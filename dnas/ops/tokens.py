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
    """Learned tokens, as a rule one, before those of x (Dosovitskiy et al. 2021, eq. 1); a map gives its pixels, row
    after row."""

    count: int = 1
    word = "+ class token"

    def output(self, x: Tensor) -> Tensor:
        positions = [axis.size for axis in x.axes if axis.name != CHANNELS]
        if not positions or not all(size.is_constant for size in positions):
            raise UserError("a class token needs tokens, or a map of one size; it cannot be searched over resolutions")
        tokens = Product(*positions).joint() + self.count
        return Tensor((Axis(TOKENS, tokens), x[CHANNELS])).to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"token": Parameter((self.count, x.channels), 0.0)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("class_token", biases=Product(self.count, x.channels))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        arrays = x.array.__array_namespace__()  # jax's, which is not imported to read a space
        n, channels = x.array.shape[0], x.array.shape[-1]
        token = arrays.broadcast_to(held["token"], (n, self.count, channels))
        return arrays.concat([token, x.array.reshape(n, -1, channels)], axis=1)


@operator("positions")
class Positions(Operator):
    """Adds a learned vector for each position (Dosovitskiy et al. 2021, eq. 1)."""

    word = "+ positions"

    def output(self, x: Tensor) -> Tensor:
        if not all(axis.size.is_constant for axis in x.axes if axis.name != CHANNELS):
            raise UserError("learned positions need maps of one size; they cannot be searched over resolutions")
        return x.to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"table": Parameter(tuple(axis.size for axis in x.axes), 0.0)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("positions", biases=x.elements)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array + held["table"]


@operator("first_token")
class FirstToken(Operator):
    """The first of the tokens alone: what a class token has gathered."""

    word = "class token"

    def output(self, x: Tensor) -> Tensor:
        return Tensor(tuple(axis for axis in x.axes if axis.name != TOKENS))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array[..., 0, :]


@operator("token_mean")
class TokenMean(Operator):
    """The mean of the tokens without the `skip` first ones."""

    skip: int = 0
    word = "mean of tokens"

    def output(self, x: Tensor) -> Tensor:
        return Tensor(tuple(axis for axis in x.axes if axis.name != TOKENS))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array[..., self.skip :, :].mean(-2)
