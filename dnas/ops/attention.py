"""Self-attention over the pixels of a map, or over tokens, head by head; a head's channels lie together.

Widths of heads are fixed, so a mask on queries, keys and values is a mask over heads: nothing mixes heads but
`MixHeads`, which takes it into its weights, and what comes after `Attend`, whose result is still to be masked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import WEIGHT, Env, Held, Operator, Parameter, Pass, Reads, Segment, Work, operator
from dnas.ops.tensor import CHANNELS, COLUMNS, HEADS, KEYS, QUERIES, ROWS, TOKENS, Axis, Tensor, Value, square
from dnas.space.entries import Cut, agreement, cut, whole
from dnas.space.quantity import Product, Quantity


def width_of_head(x: Tensor, heads: Quantity) -> Quantity:
    """Channels of a head; -1 where they do not come out even."""
    return Quantity.combine(lambda c, h: c // h if c % h == 0 else -1, x.channels, heads)


def positions(x: Tensor) -> Quantity:
    """How many there are that attend to one another."""
    return Product(*(x[name].size for name in (ROWS, COLUMNS, TOKENS) if name in x.names)).joint()


def around(x: Tensor) -> tuple[Axis, ...]:
    """What holds positions that attend to their own alone, such as windows."""
    inner = (ROWS, COLUMNS, TOKENS, CHANNELS, HEADS, QUERIES, KEYS)
    return tuple(axis for axis in x.axes if axis.name not in inner)


def sizes(axes: tuple[Axis, ...]) -> list[Quantity]:
    """Of the axes."""
    return [axis.size for axis in axes]


@operator("attention_scores")
class AttentionScores(Operator):
    """q k^T / sqrt(width of a head), of maps or tokens of queries and keys (Vaswani et al. 2017, section 3.2.1);
    within each of their windows or patches, where they have those."""

    heads: Quantity
    word = ""
    of_attention = "scores"
    second = ""

    def output(self, q: Tensor, k: Tensor) -> Tensor:
        if not (positions(q).is_constant and positions(k).is_constant):
            raise UserError("attention needs maps of one size; it cannot be searched over resolutions")
        width = width_of_head(q, self.heads)
        if not agreement(q.channels, k.channels).min() or not width.is_constant or width.value < 1:
            raise UserError("queries and keys need heads of one fixed width")
        heads = Axis(HEADS, self.heads, pending=True)
        return Tensor((*around(q), heads, Axis(QUERIES, positions(q)), Axis(KEYS, positions(k))))

    def work(self, y: Tensor, q: Tensor, k: Tensor) -> Iterator[Work]:
        yield Work("matmul", macs=Product(*sizes(around(q)), q.channels, y[QUERIES].size, y[KEYS].size))

    def apply(self, env: Env, held: Held, y: Tensor, q: Value, k: Value) -> Any:
        form = functools.partial(maths.attention.scores, heads=y[HEADS].length, around=len(around(q.tensor)))
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
        return {"table": Parameter((s[HEADS].size, self.keys, self.keys), 0.0, table=True)}

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        yield Work("attention_bias", biases=Product(s[HEADS].size, self.keys, self.keys))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        return s.array + maths.attention.distance_bias(held["table"], self.queries.max(), self.stride)

    def memory(self, of: Pass, y: Tensor, s: Tensor) -> Iterator[Segment]:
        yield from ()


@operator("mix_heads")
class MixHeads(Operator):
    """Talking heads (Shazeer et al. 2020): a linear layer over the heads, at each query and key."""

    second = WEIGHT

    def output(self, s: Tensor) -> Tensor:
        return s.to_mask(True, HEADS)

    def parameters(self, s: Tensor) -> dict[str, Parameter]:
        heads = s[HEADS].size
        return {"weight": Parameter((heads, heads)), "bias": Parameter((heads,), 0.0)}

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        weights, bias = Product(s[HEADS].size, s[HEADS].size), Product(s[HEADS].size)
        macs = weights * Product(*sizes(around(s))) * s[QUERIES].size * s[KEYS].size
        yield Work("conv", macs=macs, weights=weights, biases=bias, fan_of_bias=bias)

    def reads(self, gates: Reads, y: Tensor, s: Tensor) -> None:
        if s[HEADS].masked:
            gates.mask(s[HEADS])

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        form = functools.partial(maths.attention.mix_heads, mask=env.pending(s.tensor[HEADS]))
        return env.product(held, form, s.array, held["weight"]) + held["bias"][:, None, None]


@operator("softmax")
class Softmax(Operator):
    """Softmax over the keys, without those that a mask leaves out."""

    exact = True
    word = "softmax"
    of_attention = "map"

    def reads(self, gates: Reads, y: Tensor, s: Tensor) -> None:
        if s[KEYS].size.masked:
            gates.mask(s[KEYS])

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        keys = s.tensor[KEYS]
        return maths.attention.softmax(s.array, env.mask(keys) if keys.size.masked else None)


class Uneven(NamedTuple):
    """Heads of different widths."""

    width: int
    """Of the widest."""
    places: tuple[int, ...]
    """Of the channels there are, if all heads were of that width."""


@operator("attend")
class Attend(Operator):
    """Sums of values weighted by the scores, head by head: a map of side `queries` from a map of side `keys`, or tokens
    from tokens."""

    queries: Quantity | None = None
    keys: Quantity | None = None
    word = "weighted values"
    second = ""
    proportional = 1

    def output(self, s: Tensor, v: Tensor) -> Tensor:
        even = isinstance(v.channels, Cut) or width_of_head(v, s[HEADS].size).is_constant
        if not even or not positions(v).same_as(s[KEYS].size):
            raise UserError("values need heads of one fixed width, and the positions of the keys")
        if self.queries is None:
            tokens = Axis(TOKENS, s[QUERIES].size)
            return Tensor((*around(v), tokens, Axis(CHANNELS, v.channels, pending=True)))
        return square(self.queries, v.channels, pending=True)

    def work(self, y: Tensor, s: Tensor, v: Tensor) -> Iterator[Work]:
        yield Work("matmul", macs=Product(*sizes(around(v)), v.channels, s[QUERIES].size, s[KEYS].size))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value, v: Value) -> Any:
        side = None if self.queries is None else self.queries.max()
        uneven = self.uneven(s.tensor, v.tensor)
        form = functools.partial(maths.attention.attend, side=side)
        if uneven is not None:
            form = functools.partial(maths.attention.attend_uneven, side=side, **uneven._asdict())
        return env.product(held, form, s.array, v.array)

    @staticmethod
    def uneven(s: Tensor, v: Tensor) -> Uneven | None:
        """How heads share the channels of the values; None where all have as many."""
        heads, size = s[HEADS].size, v.channels
        if not isinstance(size, Cut):
            return None
        stay = heads if isinstance(heads, Cut) else cut(heads.value, range(heads.value))
        owners = [stay.entries.index(entry // (size.full // stay.full)) for entry in size.entries]
        counts = [owners.count(head) for head in range(len(stay.entries))]
        ranks = [n - sum(counts[:head]) for n, head in enumerate(owners)]
        if len(set(counts)) == 1:
            return None
        places = (head * max(counts) + rank for head, rank in zip(owners, ranks, strict=True))
        return Uneven(max(counts), tuple(places))

    def memory(self, of: Pass, y: Tensor, s: Tensor, v: Tensor) -> Iterator[Segment]:
        yield Segment(y.length, y.length + v.length + s.length)


@operator("learned_scores")
class LearnedScores(Operator):
    """A learned number for each head, query and key, of a map of queries and one of keys of side `keys`; whatever the
    image is (the relative positions of CMT, Guo et al. 2022, section 3.2)."""

    heads: Quantity
    keys: int
    word = "bias"

    def output(self, x: Tensor) -> Tensor:
        if not positions(x).is_constant:
            raise UserError("a learned bias needs maps of one size; it cannot be searched over resolutions")
        keys = Quantity.constant(self.keys**2)
        return Tensor((Axis(HEADS, self.heads, pending=True), Axis(QUERIES, positions(x)), Axis(KEYS, keys)))

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        return {"table": Parameter((self.heads, positions(x), self.keys**2), 0.0, table=True)}

    def work(self, y: Tensor, x: Tensor) -> Iterator[Work]:
        yield Work("attention_bias", biases=y.elements)

    def apply(self, env: Env, held: Held, y: Tensor, x: Value) -> Any:
        return held["table"][None]


@dataclass(frozen=True, eq=False)
class _Relative(Operator):
    """Vectors for the distances of pixels, in rows and in columns, that all heads share; a vector of its own for pairs
    with one of the `before` tokens that stand before the pixels of a map of side `side`. Distances beyond `reach` are
    taken for it. `size` is that of the heads, or channels, of the result. Of the tokens some may have been dropped."""

    size: Quantity
    side: int
    width: int
    reach: int
    before: int = 1
    second = ""

    def parameters(self, x: Tensor) -> dict[str, Parameter]:
        table = Parameter((2 * self.reach + 2, self.width), 0.0, table=True)
        return {"rows": table, "columns": table}

    def attributes(self) -> dict[str, Any]:
        entries = self.size.entries if isinstance(self.size, Cut) else None
        return super().attributes() | {"entries": entries}

    def table(self, held: Held, queries: Quantity, keys: Quantity) -> Any:
        """[queries, keys, width]"""
        table = maths.attention.relative_table(held["rows"], held["columns"], self.side, self.before)
        for axis, size in enumerate((queries, keys)):
            if isinstance(size, Cut):
                table = maths.axes.taken(table, size.entries, axis)
        return table

    def check(self, tokens: Quantity) -> None:
        if not tokens.is_constant or whole(tokens) != self.side**2 + self.before:
            raise UserError(f"relative positions need {self.before} tokens before a map of side {self.side}")

    def works(self, heads: Quantity, queries: Quantity, keys: Quantity) -> Iterator[Work]:
        yield Work("matmul", macs=Product(heads, self.width, queries, keys))
        yield Work("relative_positions", biases=Product(2 * (2 * self.reach + 2), self.width))


@operator("relative_scores")
class RelativeScores(_Relative):
    """What the distances of keys add to the scores of queries (AutoFormer, Chen et al. 2021, section 3.1; Shaw et al.
    2018, eq. 5). `keys` is how many there are; by itself as many as queries."""

    keys: Quantity | None = None

    def output(self, q: Tensor) -> Tensor:
        queries, keys = q[TOKENS].size, self.keys or q[TOKENS].size
        for tokens in (queries, keys):
            self.check(tokens)
        return Tensor((Axis(HEADS, self.size, pending=True), Axis(QUERIES, queries), Axis(KEYS, keys)))

    def work(self, y: Tensor, q: Tensor) -> Iterator[Work]:
        yield from self.works(*(y[name].size for name in (HEADS, QUERIES, KEYS)))

    def apply(self, env: Env, held: Held, y: Tensor, q: Value) -> Any:
        form = functools.partial(maths.attention.relative_scores, heads=y[HEADS].length)
        return env.product(held, form, q.array, self.table(held, y[QUERIES].size, y[KEYS].size))


@operator("relative_values")
class RelativeValues(_Relative):
    """Vectors of distances weighted by the scores, beside the values (Shaw et al. 2018, eq. 3)."""

    def output(self, s: Tensor) -> Tensor:
        self.check(s[KEYS].size)
        return Tensor((Axis(TOKENS, s[QUERIES].size), Axis(CHANNELS, self.size, pending=True)))

    def work(self, y: Tensor, s: Tensor) -> Iterator[Work]:
        yield from self.works(*(s[name].size for name in (HEADS, QUERIES, KEYS)))

    def apply(self, env: Env, held: Held, y: Tensor, s: Value) -> Any:
        table = self.table(held, s.tensor[QUERIES].size, s.tensor[KEYS].size)
        found = env.product(held, maths.attention.relative_values, s.array, table)
        return found[..., np.array(self.size.entries)] if isinstance(self.size, Cut) else found
