"""Tokens: the positions of a map in a row, and what stands beside them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.conv import bias_of, biased, read_pending
from dnas.ops.operator import WEIGHT, Env, Held, Operator, Parameter, Reads, Work, operator
from dnas.ops.tensor import CHANNELS, PATCHES, TOKENS, Axis, Tensor, Value
from dnas.ops.windows import side_after
from dnas.space.entries import preceded, repeated
from dnas.space.quantity import Product, Quantity


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
        return {"token": Parameter((self.count, x.channels), 0.0, table=True)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("class_token", biases=Product(self.count, x.channels))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        arrays = x.array.__array_namespace__()  # jax's, which is not imported to read a space
        n, channels = x.array.shape[0], x.array.shape[-1]
        token = arrays.broadcast_to(held["token"], (n, self.count, channels))
        return arrays.concat([token, x.array.reshape(n, -1, channels)], axis=1)


@operator("positions")
class Positions(Operator):
    """Adds a learned vector for each position (Dosovitskiy et al. 2021, eq. 1); `inner`: for each token,
    the same in every patch."""

    inner: bool = False
    word = "+ positions"

    def output(self, x: Tensor) -> Tensor:
        if not all(axis.size.is_constant for axis in x.axes if axis.name != CHANNELS):
            raise UserError("learned positions need maps of one size; they cannot be searched over resolutions")
        return x.to_mask(True)

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"table": Parameter(self.sizes(x), 0.0, table=True)}

    def sizes(self, x: Tensor) -> tuple[Quantity, ...]:
        """Of the table."""
        return tuple(axis.size for axis in x.axes[-2:] if self.inner) or tuple(axis.size for axis in x.axes)

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("positions", biases=Product(*self.sizes(x)))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array + held["table"]


@operator("first_token")
class FirstToken(Operator):
    """One of the tokens alone, as a rule the first: what a class token has gathered."""

    place: int = 0
    word = "class token"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        return Tensor(tuple(axis for axis in x.axes if axis.name != TOKENS))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array[..., self.place, :]


@operator("token_mean")
class TokenMean(Operator):
    """The mean of the tokens without the `skip` first ones, of those that are left."""

    skip: int = 0
    exact = True
    word = "mean of tokens"
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        if x[TOKENS].length <= self.skip:
            raise UserError(f"no token is left to take the mean of after the first {self.skip}")
        return Tensor(tuple(axis for axis in x.axes if axis.name != TOKENS))

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        if x[TOKENS].size.masked:
            gates.mask(x[TOKENS])

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        tokens = x.array[..., self.skip :, :]
        if not x.tensor[TOKENS].size.masked:
            return tokens.mean(-2)
        mask = env.mask(x.tensor[TOKENS])[self.skip :]
        return (tokens * mask[:, None]).sum(-2) / mask.sum()


@operator("word_embed")
class WordEmbed(Operator):
    """A convolution within each patch of `patch` x `patch` pixels, zeros around each: the pixels of its result are the
    words of the patch (TNT, Han et al. 2021, section 3.2)."""

    out: Quantity
    patch: int
    kernel: int
    stride: int
    padding: int
    operands = 1
    second = WEIGHT
    sums_channels = True

    def output(self, x: Tensor) -> Tensor:
        if x.side is None or not x.side.is_constant or x.side.value % self.patch:
            raise UserError(f"words need a map of one size, of whole patches of {self.patch} x {self.patch} pixels")
        patch, kernel, padding = map(Quantity.constant, (self.patch, self.kernel, self.padding))
        patches = Quantity.constant((x.side.value // self.patch) ** 2)
        words = Product(*[side_after(patch, kernel, self.stride, padding)] * 2).joint()
        return Tensor((Axis(PATCHES, patches), Axis(TOKENS, words), Axis(CHANNELS, self.out, pending=True)))

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"weight": Parameter((self.kernel, self.kernel, x.channels, self.out))} | bias_of(self.out, True)

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        weights = Product(self.kernel**2, x.channels, self.out)
        macs = weights * y[PATCHES].size * y[TOKENS].size
        yield Work("conv", macs=macs, weights=weights, biases=Product(self.out), fan_of_bias=Product(x.channels))

    def reads(self, gates: Reads, y: Tensor, x: Tensor) -> None:
        read_pending(gates, x)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        mask, w = env.pending(x.tensor[CHANNELS]), held["weight"]
        sizes = {"patch": self.patch, "stride": self.stride, "padding": self.padding}
        form = functools.partial(maths.windows.conv_in_patches, **sizes)
        return biased(held, env.product(held, form, x.array, w if mask is None else w * mask[:, None]))


@operator("join_tokens")
class JoinTokens(Operator):
    """The tokens of each patch beside one another as channels of one token."""

    word = "words together"

    def output(self, x: Tensor) -> Tensor:
        channels = Axis(CHANNELS, repeated(x.channels, x[TOKENS].length), x[CHANNELS].pending)
        return Tensor((Axis(TOKENS, x[PATCHES].size), channels))

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return x.array.reshape(*x.array.shape[:2], -1)


@operator("leading_zeros")
class LeadingZeros(Operator):
    """Tokens of zeros before those of x, in the places of tokens to which nothing is added."""

    count: int = 1
    word = ""
    proportional = 0

    def output(self, x: Tensor) -> Tensor:
        return x.like(**{TOKENS: preceded(x[TOKENS].size, self.count)})

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        arrays = x.array.__array_namespace__()
        zeros = arrays.zeros_like(x.array[..., : self.count, :])
        return arrays.concat([zeros, x.array], axis=-2)
