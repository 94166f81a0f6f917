"""One network, read many ways.

`Network` walks a space and gives block functions their primitives. Every primitive does three things in one place:
it works out the sizes of its result as quantities, writes a record to the ledger, and asks `values` for the numbers.
With `NoValues` (the default) a walk yields shapes and costs alone, without any array; with `dnas.nn.forward.Forward`
the same walk is the forward pass of the supernet, or, for a space without choices, of the plain network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dnas.blocks import KINDS, Fields
from dnas.cost.ledger import Record
from dnas.errors import InputError, UserError, suggestion
from dnas.space.expr import Expression, parse
from dnas.space.fields import Formula
from dnas.space.quantity import Product, Quantity, indicator
from dnas.space.space import Block, Node, OneOf, Space, Stage


@dataclass(frozen=True, eq=False)
class Feature:
    """What flows between blocks: a map [N, H, W, C] (or a vector [N, C] where `side` is None) with its sizes.

    The array is as large as the largest option; `channels` and `side` say how much of it is meant. `pending` says
    that the channel mask is still to be applied: consumers fold it into their weights where that is exact.
    """

    value: Any
    channels: Quantity
    side: Quantity | None
    pending: bool = False

    @property
    def width(self) -> int:
        """Channels of the array."""
        return self.channels.max()


@dataclass(frozen=True, eq=False)
class Scores:
    """Attention scores [N, heads, queries, keys], a row for each pixel of a map of queries, a column for one of keys.

    `queries` and `keys` are the sides of those maps. `pending` says that the mask over heads is still to be applied.
    """

    value: Any
    heads: Quantity
    queries: Quantity
    keys: Quantity
    pending: bool = True


class Values(Protocol):
    """Arithmetic behind the primitives. All sizes were checked before a call."""

    def conv(self, path: str, x: Feature, y: Feature, kernel: Quantity, stride: int, padding: Quantity,
             groups: int, bias: bool) -> Any: ...  # fmt: skip
    def depthwise(self, path: str, x: Feature, y: Feature, kernel: Quantity, stride: int, padding: Quantity,
                  bias: bool) -> Any: ...  # fmt: skip
    def linear(self, path: str, x: Feature, y: Feature, bias: bool) -> Any: ...
    def batch_norm(self, path: str, x: Feature, masked: bool, start: float, switched: bool) -> Any: ...
    def layer_norm(self, path: str, x: Feature) -> Any: ...
    def layer_scale(self, path: str, x: Feature, start: float) -> Any: ...
    def activation(self, x: Feature, act: Quantity) -> Any: ...
    def squeeze_excite(self, path: str, x: Feature, hidden: Quantity, act: Quantity, on: Quantity) -> Any: ...
    def global_pool(self, x: Feature) -> Any: ...
    def average_pool(self, x: Feature, y: Feature, kernel: Quantity, stride: int, padding: Quantity) -> Any: ...
    def upsample(self, x: Feature, y: Feature) -> Any: ...
    def combine(self, parts: Sequence[tuple[float, Feature]]) -> Any: ...
    def attention_scores(self, q: Feature, k: Feature, s: Scores) -> Any: ...
    def attention_bias(self, path: str, s: Scores, stride: int) -> Any: ...
    def mix_heads(self, path: str, s: Scores) -> Any: ...
    def softmax(self, s: Scores) -> Any: ...
    def attend(self, s: Scores, v: Feature, y: Feature) -> Any: ...
    def channel_shuffle(self, x: Feature, groups: int) -> Any: ...
    def mask(self, x: Feature) -> Any: ...
    def residual(self, x: Feature, y: Feature, agree: Quantity) -> Any: ...
    def mixture(self, parts: Sequence[tuple[Quantity, Feature]], y: Feature) -> Any: ...
    def tap(self, path: str, x: Feature) -> None: ...
    def ahead(self, nodes: Sequence[Node], x: Feature) -> tuple[int, Feature] | None:
        """Evaluates the first few nodes in a way of its own.

        How many, and the feature after them; None leaves the first to the walk. What is evaluated here is not in the
        walk's ledger.
        """
        ...


class NoValues:
    """Values of a walk that asks for shapes and costs only: every primitive's value is None."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


@dataclass(frozen=True, eq=False)
class BlockUse:
    """One block as it was met: its fields, the size of its input and the condition under which it exists."""

    path: str
    kind: str
    fields: dict[str, Quantity]
    channels_in: Quantity
    side_in: Quantity | None
    given: Quantity
    out: Feature


class Network:
    """Walks nodes with features; see the module's text."""

    never = Quantity.constant(0)
    always = Quantity.constant(1)

    def __init__(self, values: Values | None = None):
        self.values: Any = NoValues() if values is None else values
        self.ledger: list[Record] = []
        self.uses: list[BlockUse] = []
        self._conditions: list[Quantity] = []
        self._path = ""

    def walk(self, nodes: Sequence[Node], x: Feature) -> Feature:
        at = 0
        while at < len(nodes):
            taken, x = self.values.ahead(nodes[at:], x) or (1, self.node(nodes[at], x))
            at += taken
        return x

    def node(self, node: Node, x: Feature) -> Feature:
        """The feature after one node of a space."""
        match node:
            case Block():
                return self._block(node, x)
            case OneOf():
                options = [
                    (indicator(node.choice, lambda i, n=n: i == n), lambda b=branch: self.walk([b], x))
                    for n, branch in enumerate(node.branches)
                ]
                return self.mixture(options, where=node.where)
            case Stage():
                for position, block in enumerate(node.blocks):
                    present = Quantity.combine(lambda d, p=position: int(d > p), node.depth)
                    before = x
                    taken, left = lambda b=block, v=before: self.walk([b], v), lambda v=before: v
                    x = self.mixture([(present, taken), (1 - present, left)], where=node.where)
                return x
        raise AssertionError(node)

    def _block(self, node: Block, x: Feature) -> Feature:
        fields = evaluated_fields(node, x)
        outer, self._path = self._path, node.path
        try:
            y = KINDS[node.kind].build(self, x, Fields(fields))
        except InputError:
            raise
        except UserError as error:
            raise InputError(node.where, str(error)) from error
        finally:
            self._path = outer
        self.uses.append(BlockUse(node.path, node.kind, fields, x.channels, x.side, self.condition, y))
        self.values.tap(node.path, y)
        return y

    # Conditions -----------------------------------------------------------------------------------------------------

    @contextmanager
    def given(self, condition: Quantity) -> Iterator[None]:
        """Operators recorded inside exist only where the condition is 1."""
        self._conditions.append(condition)
        try:
            yield
        finally:
            self._conditions.pop()

    @property
    def condition(self) -> Quantity:
        """1 where an operator met now exists."""
        return Product(*self._conditions).joint()

    def mixture(self, options: Sequence[tuple[Quantity, Callable[[], Feature]]], where: str | None = None) -> Feature:
        """sum_i condition_i * option_i for conditions of which exactly one is 1; impossible options are not built."""
        parts: list[tuple[Quantity, Feature]] = []
        for condition, build in options:
            if condition.is_constant and condition.value == 0:
                continue
            with self.given(condition):
                parts.append((condition, build()))
        if len(parts) == 1:
            return parts[0][1]
        conditions = [condition for condition, _ in parts]
        features = [self.masked(feature) for _, feature in parts]
        channels = _taken(conditions, [f.channels for f in features])
        sides = [f.side for f in features]
        if any((s is None) != (sides[0] is None) for s in sides):
            raise InputError(where or self._path, "the options differ in kind: some are maps, some vectors")
        side = None if sides[0] is None else _taken(conditions, sides)  # type: ignore[arg-type]
        if side is not None and set(side.over) & {c for q in conditions for c in q.over}:
            raise InputError(
                where or self._path, "the options give maps of different sides", found=side.values(),
                accepted="options with the same stride",
            )  # fmt: skip
        y = Feature(None, channels, side)
        return replace(y, value=self.values.mixture(list(zip(conditions, features, strict=True)), y))

    # Primitives -----------------------------------------------------------------------------------------------------

    def conv(
        self, name: str, x: Feature, out: Quantity, kernel: Quantity | int = 1, stride: int = 1,
        padding: Quantity | int | None = None, *, groups: int = 1, bias: bool = False,
    ) -> Feature:  # fmt: skip
        """Convolution to `out` channels. Several kernel options mix before it (one convolution serves all)."""
        path, kernel, padding = self._name(name), _quantity(kernel), _padding(kernel, padding)
        if groups > 1:
            _check_groups(x.channels, out, groups)
        y = Feature(None, out, conv_side(x.side, kernel, stride, padding), pending=True)
        weights = Product(kernel, kernel, x.channels // groups, out)
        self._record(
            "conv", path, macs=weights * _area(y.side), weights=weights, biases=Product(out, int(bias)),
            fan_of_bias=Product(x.channels // groups, int(bias)),
        )  # fmt: skip
        return replace(y, value=self.values.conv(path, x, y, kernel, stride, padding, groups, bias))

    def depthwise(
        self, name: str, x: Feature, kernel: Quantity | int, stride: int = 1,
        padding: Quantity | int | None = None, *, bias: bool = False,
    ) -> Feature:  # fmt: skip
        """One kernel a channel. Several kernel options mix before the convolution."""
        path, kernel, padding = self._name(name), _quantity(kernel), _padding(kernel, padding)
        y = Feature(None, x.channels, conv_side(x.side, kernel, stride, padding), pending=True)
        weights = Product(kernel, kernel, x.channels)
        self._record(
            "conv", path, macs=weights * _area(y.side), weights=weights, biases=Product(x.channels, int(bias)),
            fan_of_bias=Product(int(bias)),
        )  # fmt: skip
        return replace(y, value=self.values.depthwise(path, x, y, kernel, stride, padding, bias))

    def linear(self, name: str, x: Feature, out: Quantity, *, bias: bool = True) -> Feature:
        """Linear layer on a vector, or on the channels of each pixel of a map."""
        path = self._name(name)
        y = Feature(None, out, x.side, pending=True)
        weights = Product(x.channels, out)
        macs = weights if x.side is None else weights * _area(x.side)
        self._record("linear", path, macs=macs, weights=weights, biases=Product(out, int(bias)))
        return replace(y, value=self.values.linear(path, x, y, bias))

    def batch_norm(
        self, name: str, x: Feature, *, masked: bool = False, start: float = 1.0, switchable: bool = False
    ) -> Feature:
        """Batch norm over every axis but channels. `masked` applies the channel mask through its scale and shift.

        `switchable`: where the width is a choice, every width has a scale and a shift of its own (Yu et al. 2019,
        "Slimmable neural networks", section 3.3). Any one network has one of each, and costs no more.
        """
        path, switched = self._name(name), switchable and not x.channels.is_constant
        affine, inputs = Product(x.channels, 2), _elements(x)
        self._record("batch_norm", path, affine=affine, inputs=inputs, switch=x.channels if switched else None)
        return replace(x, value=self.values.batch_norm(path, x, masked, start, switched), pending=not masked)

    def layer_norm(self, name: str, x: Feature) -> Feature:
        """Norm over the channels that are meant, pixel by pixel, with a scale and a shift a channel."""
        path = self._name(name)
        self._record("layer_norm", path, affine=Product(x.channels, 2), inputs=_elements(x))
        return replace(x, value=self.values.layer_norm(path, x), pending=True)

    def layer_scale(self, name: str, x: Feature, start: float) -> Feature:
        """A learned factor a channel, `start` at first (CaiT, Touvron et al. 2021)."""
        path = self._name(name)
        self._record("layer_scale", path, affine=Product(x.channels))
        return replace(x, value=self.values.layer_scale(path, x, start))

    def activation(self, x: Feature, act: Quantity | str) -> Feature:
        """Activation; several options mix elementwise."""
        act = _quantity(act)
        for name in act.values():
            if name != "none":
                with self.given(act.equals(name)):
                    line = Product(x.channels) if x.side is None else Product(x.channels, x.side)
                    self._record("activation", self._name("act"), inputs=_elements(x), line=line, detail=name)
        if act.is_constant and act.value == "none":
            return x
        return replace(x, value=self.values.activation(x, act))

    def squeeze_excite(
        self, name: str, x: Feature, hidden: Quantity, act: Quantity, on: Quantity | None = None
    ) -> Feature:
        """x * hsigmoid(W2 act(W1 mean(x))); mixed in its gate where `on` is a choice: x * (1 - on + on * s(x)).

        The channel mask is applied through the gate, which has no pixels, so that no map or matrix is masked after it.
        """
        on = self.always if on is None else Quantity.combine(int, on)
        if on.is_constant and not on.value:
            return x
        path = self._name(name)
        with self.given(on):
            pooled = Product(x.channels)
            self._record("squeeze", f"{path}.pool", inputs=pooled * _area(x.side), outputs=pooled)
            for part, a, b in (("reduce", x.channels, hidden), ("expand", hidden, x.channels)):
                weights = Product(a, b)
                self._record(
                    "conv", f"{path}.{part}", macs=weights, weights=weights, biases=Product(b), fan_of_bias=Product(a)
                )
        return replace(x, value=self.values.squeeze_excite(path, x, hidden, act, on), pending=False)

    def global_pool(self, x: Feature, kind: str = "pool") -> Feature:
        """Mean over the map; of a vector, the vector itself (some releases pool twice, and their counts show it).

        `kind` names the record: a "mean" is a plain reduction, which no counting tool sees as a pooling layer.
        """
        pooled = Product(x.channels)
        self._record(kind, self._name("pool"), inputs=_elements(x), outputs=pooled)
        if x.side is None:
            return x
        return replace(x, value=self.values.global_pool(x), side=None)

    def average_pool(
        self, x: Feature, kernel: Quantity | int, stride: int = 1, padding: Quantity | int | None = None
    ) -> Feature:
        """Mean over a window around each pixel; cells outside the map do not count. A window of 1 picks pixels."""
        kernel, padding = _quantity(kernel), _padding(_quantity(kernel), padding)
        y = replace(x, value=None, side=conv_side(x.side, kernel, stride, padding))
        self._record("average_pool", self._name("pool"), inputs=Product(kernel, kernel) * _elements(y))
        return replace(y, value=self.values.average_pool(x, y, kernel, stride, padding))

    def upsample(self, x: Feature, factor: int) -> Feature:
        """Bilinear interpolation to `factor` times the side, pixels as areas (corners not aligned)."""
        if x.side is None:
            raise UserError("only a map can be enlarged; the input is pooled already")
        y = replace(x, value=None, side=x.side * factor)
        self._record("upsample", self._name("upsample"), outputs=_elements(y))
        return replace(y, value=self.values.upsample(x, y))

    def combine(self, *parts: tuple[float, Feature]) -> Feature:
        """sum_i factor_i * feature_i of features of one size, factors being plain numbers."""
        features = [feature for _, feature in parts]
        first = features[0]
        if any(not f.channels.same_as(first.channels) or not _same_side(f, first) for f in features):
            sizes = [(f.channels.values(), None if f.side is None else f.side.values()) for f in features]
            raise UserError(f"features of different sizes (channels, side) cannot be added: {sizes}")
        if not all(f.pending for f in features):
            features = [self.masked(f) for f in features]
        value = self.values.combine([(factor, f) for (factor, _), f in zip(parts, features, strict=True)])
        return replace(first, value=value, pending=features[0].pending)

    # Attention ------------------------------------------------------------------------------------------------------

    def attention_scores(self, name: str, q: Feature, k: Feature, heads: Quantity) -> Scores:
        """q k^T / sqrt(width of a head), head by head; a head's channels lie together."""
        if q.side is None or k.side is None or not (q.side.is_constant and k.side.is_constant):
            raise UserError("attention needs maps of one size; it cannot be searched over resolutions")
        if not q.channels.same_as(k.channels) or not _head_width(q, heads).is_constant:
            raise UserError("queries and keys need heads of one fixed width")
        self._record("matmul", self._name(name), macs=Product(q.channels) * _area(q.side) * _area(k.side))
        s = Scores(None, heads, q.side, k.side)
        return replace(s, value=self.values.attention_scores(q, k, s))

    def attention_bias(self, name: str, s: Scores, stride: int = 1) -> Scores:
        """Adds a learned number for each head and distance (abs(dy), abs(dx)) of key and query.

        Query y stands at `stride * y` of the map of keys (LeViT, Graham et al. 2021).
        """
        path = self._name(name)
        self._record("attention_bias", path, biases=Product(s.heads, s.keys, s.keys))
        return replace(s, value=self.values.attention_bias(path, s, stride))

    def mix_heads(self, name: str, s: Scores) -> Scores:
        """Talking heads (Shazeer et al. 2020): a linear layer over the heads, at each query and key."""
        path, weights = self._name(name), Product(s.heads, s.heads)
        macs = weights * _area(s.queries) * _area(s.keys)
        bias = Product(s.heads)
        self._record("conv", path, macs=macs, weights=weights, biases=bias, fan_of_bias=bias)
        return replace(s, value=self.values.mix_heads(path, s), pending=True)

    def softmax(self, s: Scores) -> Scores:
        """Softmax over the keys."""
        return replace(s, value=self.values.softmax(s))

    def attend(self, name: str, s: Scores, v: Feature) -> Feature:
        """Sums of values weighted by the scores, head by head: a map of the side of the queries."""
        if not _head_width(v, s.heads).is_constant or v.side is None or not v.side.same_as(s.keys):
            raise UserError("values need heads of one fixed width, and the side of the keys")
        self._record("matmul", self._name(name), macs=Product(v.channels) * _area(s.queries) * _area(s.keys))
        y = Feature(None, v.channels, s.queries, pending=True)
        return replace(y, value=self.values.attend(s, v, y))

    # Order and masks ------------------------------------------------------------------------------------------------

    def channel_shuffle(self, x: Feature, groups: int) -> Feature:
        """Channels of the groups interleaved."""
        _check_groups(x.channels, x.channels, groups)
        return replace(x, value=self.values.channel_shuffle(x, groups))

    def masked(self, x: Feature) -> Feature:
        """The feature with its channel mask applied, if it is not already."""
        return replace(x, value=self.values.mask(x), pending=False) if x.pending else x

    def residual(self, x: Feature, y: Feature) -> Feature:
        """y + x where the widths agree, y elsewhere; under gates x enters with the probability that they agree."""
        agree = self.always if x.channels is y.channels else x.channels.equals(y.channels)
        if agree.is_constant and not agree.value:
            return y
        return replace(y, value=self.values.residual(self.masked(x), self.masked(y), agree), pending=False)

    def _record(
        self, kind: str, path: str, *, detail: str = "", switch: Quantity | None = None, **parts: Product
    ) -> None:
        self.ledger.append(Record(kind, path, Product(*self._conditions), detail=detail, switch=switch, **parts))

    def _name(self, name: str) -> str:
        return f"{self._path}.{name}"


def shapes(space: Space) -> tuple[Network, Feature]:
    """The walk without values: ledger, block uses, and the last feature, at the space's own input and classes."""
    network = Network()
    x = Feature(None, Quantity.constant(space.channels), space.resolution)
    return network, network.walk(space.nodes, x)


def evaluated_fields(node: Block, x: Feature) -> dict[str, Quantity]:
    """Every field of a block as a quantity, defaults and formulas computed, values checked."""
    kind = KINDS[node.kind]
    done: dict[str, Quantity] = {"in": x.channels}
    if x.side is not None:
        done["side"] = x.side
    active: list[str] = []

    def lookup(name: str) -> Quantity:
        if name.startswith("$"):
            return node.scope[name[1:]]
        if name in done:
            return done[name]
        if name not in kind.fields:
            accepted = ", ".join((*kind.fields, "in", "side"))
            near = suggestion(name, (*kind.fields, "in", "side"))
            raise InputError(node.where, f"unknown name '{name}' in a formula of {node.path}{near}", accepted=accepted)
        if name in active:
            raise InputError(node.where, f"{node.path}.{name} depends on itself ({' -> '.join((*active, name))})")
        active.append(name)
        spec = kind.fields[name]
        value: Any = node.fields.get(name, spec.default)
        if isinstance(value, Formula):
            value = parse(value.text, f"{node.where}.{name}")
        if isinstance(value, Expression):
            value = value.evaluate(lookup)
        elif not isinstance(value, Quantity):
            value = Quantity.constant(value)
        done[name] = Quantity.combine(lambda v: spec.validated(v, f"{node.where}.{name}"), value)
        active.pop()
        return done[name]

    return {name: lookup(name) for name in kind.fields}


def conv_side(side: Quantity | None, kernel: Quantity, stride: int, padding: Quantity) -> Quantity:
    """Side of a convolution's output: floor((side + 2 padding - kernel) / stride) + 1."""
    if side is None:
        raise UserError("a convolution needs a map; the input is pooled already")
    out = Quantity.combine(lambda n, k, p: (n + 2 * p - k) // stride + 1, side, kernel, padding)
    if set(out.over) - set(side.over):
        raise UserError(
            f"kernel options {kernel.values()} with paddings {padding.values()} give maps of different sides"
        )
    if out.min() < 1:
        raise UserError(f"the map vanishes: side {side.min()}, kernel {kernel.max()}, padding {padding.min()}")
    return out


def _taken(conditions: Sequence[Quantity], parts: Sequence[Quantity]) -> Quantity:
    """The part whose condition is 1."""
    if all(part is parts[0] for part in parts):
        return parts[0]
    count = len(parts)

    def pick(*values: Any) -> Any:
        return next(v for c, v in zip(values[:count], values[count:], strict=True) if c)

    return Quantity.combine(pick, *conditions, *parts)


def _quantity(value: Any) -> Quantity:
    return value if isinstance(value, Quantity) else Quantity.constant(value)


def _padding(kernel: Quantity | int, padding: Quantity | int | None) -> Quantity:
    return _quantity(kernel) // 2 if padding is None else _quantity(padding)


def _area(side: Quantity | None) -> Product:
    assert side is not None
    return Product(side, side)


def _elements(x: Feature) -> Product:
    return Product(x.channels) if x.side is None else Product(x.channels) * _area(x.side)


def _same_side(a: Feature, b: Feature) -> bool:
    return (a.side is None) == (b.side is None) and (a.side is None or b.side is None or a.side.same_as(b.side))


def _head_width(x: Feature, heads: Quantity) -> Quantity:
    """Channels of a head; -1 where they do not come out even."""
    return Quantity.combine(lambda c, h: c // h if c % h == 0 else -1, x.channels, heads)


def _check_groups(channels: Quantity, out: Quantity, groups: int) -> None:
    if not (channels.is_constant and out.is_constant):
        raise UserError("groups need fixed widths: the channels of a group would move with the width")
    if channels.value % groups or out.value % groups:
        raise UserError(f"{channels.value} to {out.value} channels cannot be split into {groups} groups")
