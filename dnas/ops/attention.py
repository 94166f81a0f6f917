"""Self-attention over the pixels of a map, head by head; a head's channels lie together.

Widths of heads are fixed, so a mask on queries, keys and values is a mask over heads: nothing mixes heads but
`MixHeads`, which takes it into its weights, and what comes after `Attend`, whose result is still to be masked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Operator, Parameter, Pass, Reads, Segment, Work, operator
from dnas.ops.tensor import HEADS, KEYS, QUERIES, Axis, Tensor, Value, square
from dnas.space.entries import agreement
from dnas.space.quantity import Product, Quantity


def width_of_head(x: Tensor, heads: Quantity) -> Quantity:
    """Channels of a head; -1 where they do not come out even."""
    return Quantity.combine(lambda c, h: c // h if c % h == 0 else -1, x.channels, heads)


@operator("attention_scores")
class AttentionScores(Operator):
    """q k^T / sqrt(width of a head), of maps of queries and keys (Vaswani et al. 2017, section 3.2.1)."""

    heads: Quantity
    word = ""

    def output(self, q: Tensor, k: Tensor) -> Tensor:
        if q.side is None or k.side is None or not (q.side.is_constant and k.side.is_constant):
            raise UserError("attention needs maps of one size; it cannot be searched over resolutions")
        if not agreement(q.channels, k.channels).min() or not width_of_head(q, self.heads).is_constant:
            raise UserError("queries and keys need heads of one fixed width")
        heads = Axis(HEADS, self.heads, pending=True)
        return Tensor((heads, Axis(QUERIES, q.side * q.side), Axis(KEYS, k.side * k.side)))

    def work(self, y: Tensor, q: Tensor, k: Tensor) -> Iterator[Work]:
        yield Work("matmul", macs=Product(q.channels, y[QUERIES].size, y[KEYS].size))

    def apply(self, env: Env, held: Held, y: Tensor, q: Value, k: Value) -> Any:
        form = functools.partial(maths.attention.scores, heads=y[HEADS].length)
        return env.product(held, form, q.array, k.array)

    def memory(self, of: Pass, y: Tensor, q: Tensor, k: Tensor) -> Iterator[Segment]:
        yield Segment(y.length, y.length + q.length + k.length)


@operator("distance_bias")
class DistanceBias(Operator):
    """Adds a learned number for each head and distance (abs(dy), abs(dx)) of key and query.

    `queries` and `keys` are the sides of their maps; query y stands at `stride * y` of the map of keys (LeViT, Graham
    et al. 2021).
    """

    queries: Quantity
    keys: Quantity
    stride: int = 1
    resident = False

    def parameters(self, s: Tensor) -> dict[str, Parameter]:
        return {"table": Parameter((s[HEADS].size, self.keys, self.keys), 0.0)}

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        yield Work("attention_bias", biases=Product(s[HEADS].size, self.keys, self.keys))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        return s.array + maths.attention.distance_bias(held["table"], self.queries.max(), self.stride)

    def memory(self, of: Pass, y: Tensor, s: Tensor) -> Iterator[Segment]:
        yield from ()


@operator("mix_heads")
class MixHeads(Operator):
    """Talking heads (Shazeer et al. 2020): a linear layer over the heads, at each query and key."""

    def output(self, s: Tensor) -> Tensor:
        return s.to_mask(True, HEADS)

    def parameters(self, s: Tensor) -> dict[str, Parameter]:
        heads = s[HEADS].size
        return {"weight": Parameter((heads, heads)), "bias": Parameter((heads,), 0.0)}

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        weights, bias = Product(s[HEADS].size, s[HEADS].size), Product(s[HEADS].size)
        macs = weights * s[QUERIES].size * s[KEYS].size
        yield Work("conv", macs=macs, weights=weights, biases=bias, fan_of_bias=bias)

    def reads(self, gates: Reads, y: Tensor, s: Tensor) -> None:
        if s[HEADS].masked:
            gates.mask(s[HEADS])

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        form = functools.partial(maths.attention.mix_heads, mask=env.pending(s.tensor[HEADS]))
        return env.product(held, form, s.array, held["weight"]) + held["bias"][:, None, None]


@operator("softmax")
class Softmax(Operator):
    """Softmax over the keys."""

    word = "softmax"

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        return maths.attention.softmax(s.array)


@operator("attend")
class Attend(Operator):
    """Sums of values weighted by the scores, head by head: a map of side `queries` from values of side `keys`."""

    queries: Quantity
    keys: Quantity
    word = "weighted values"

    def output(self, s: Tensor, v: Tensor) -> Tensor:
        even = width_of_head(v, s[HEADS].size).is_constant
        if not even or v.side is None or not v.side.same_as(self.keys):
            raise UserError("values need heads of one fixed width, and the side of the keys")
        return square(self.queries, v.channels, pending=True)

    def work(self, y: Tensor, s: Tensor, v: Tensor) -> Iterator[Work]:
        yield Work("matmul", macs=Product(v.channels, s[QUERIES].size, s[KEYS].size))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value, v: Value) -> Any:
        form = functools.partial(maths.attention.attend, side=self.queries.max())
        return env.product(held, form, s.array, v.array)

    def memory(self, of: Pass, y: Tensor, s: Tensor, v: Tensor) -> Iterator[Segment]:
        yield Segment(y.length, y.length + v.length + s.length)
