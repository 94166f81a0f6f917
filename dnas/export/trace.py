"""An architecture as a list of plain operators: the walk of `dnas.network` with values that only take notes.

`Tracer` implements `dnas.network.Values`, so it knows primitives and no block kind. Composite primitives (squeeze-
excite) are taken apart here once; every exporter then writes the same few operators:

| kind | inputs | attributes |
|---|---|---|
| conv | map | kernel, stride, padding, groups, bias |
| linear | vector, or map: its channels | bias |
| norm | map or vector | - |
| layer_norm | map or vector: its channels | - |
| gamma | any: a factor a channel | - |
| act | any | name |
| pool | map | keep: a map of side 1 is left, else a vector |
| average_pool | map; cells outside it do not count | kernel, stride, padding |
| upsample | map, bilinear | factor |
| shuffle | map | groups |
| add | two of equal shape | - |
| sum | several of equal shape | factors |
| scale | map, map of side 1 | - |
| scores | queries, keys | heads |
| distance_bias | scores | stride |
| mix_heads | scores | - |
| softmax | scores | - |
| attend | scores, values | - |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dnas.errors import InputError, UserError
from dnas.network import Feature, Network, Scores
from dnas.space.quantity import Quantity
from dnas.space.space import Block, Space

Weights = Callable[[str, tuple[int, ...]], np.ndarray]
"""(name of a parameter or statistic, shape) -> float32 array of that shape."""


@dataclass(frozen=True)
class Value:
    """A tensor between operators: its number, and its size without the batch.

    Attention scores have heads as channels, the side of the map of queries and, in `keys`, that of the keys.
    """

    index: int
    channels: int
    side: int | None
    keys: int | None = None


@dataclass(frozen=True)
class Op:
    """One operator. `path` names its weights, or is empty where it has none."""

    kind: str
    path: str
    inputs: tuple[Value, ...]
    output: Value
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class TracedBlock:
    """The operators of one block, in order; none for an identity."""

    path: str
    kind: str
    fields: Mapping[str, Any]
    input: Value
    output: Value
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Graph:
    """A network without choices, as a chain of blocks."""

    input: Value
    output: Value
    blocks: tuple[TracedBlock, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        return tuple(op for block in self.blocks for op in block.ops)


class Tracer:
    """`dnas.network.Values` that writes down what it is asked for."""

    def __init__(self, first: Value):
        self.ops: list[Op] = []
        self.ends: list[tuple[str, Value, int]] = []
        self.count = first.index + 1

    def conv(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity, groups, bias) -> Value:
        sizes = {"kernel": kernel.value, "stride": stride, "padding": padding.value, "groups": groups, "bias": bias}
        return self._add("conv", path, [x.value], y.width, _side(y), **sizes)

    def depthwise(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity, bias) -> Value:
        return self.conv(path, x, y, kernel, stride, padding, x.width, bias)

    def linear(self, path, x: Feature, y: Feature, bias) -> Value:
        return self._add("linear", path, [x.value], y.width, _side(y), bias=bias)

    def batch_norm(self, path, x: Feature, masked: bool, start: float, switched: bool) -> Value:
        return self._add("norm", path, [x.value], x.width, _side(x))

    def layer_norm(self, path, x: Feature) -> Value:
        return self._add("layer_norm", path, [x.value], x.width, _side(x))

    def layer_scale(self, path, x: Feature, start: float) -> Value:
        return self._add("gamma", path, [x.value], x.width, _side(x))

    def activation(self, x: Feature, act: Quantity) -> Value:
        return self._act(x.value, act.value)

    def squeeze_excite(self, path, x: Feature, hidden: Quantity, act: Quantity, on: Quantity) -> Value:
        pointwise = {"kernel": 1, "stride": 1, "padding": 0, "groups": 1, "bias": True}
        y = self._add("pool", "", [x.value], x.width, 1, keep=True)
        y = self._add("conv", f"{path}.reduce", [y], hidden.value, 1, **pointwise)
        y = self._add("conv", f"{path}.expand", [self._act(y, act.value)], x.width, 1, **pointwise)
        return self._add("scale", "", [x.value, self._act(y, "hsigmoid")], x.width, _side(x))

    def global_pool(self, x: Feature) -> Value:
        return self._add("pool", "", [x.value], x.width, None, keep=False)

    def average_pool(self, x: Feature, y: Feature, kernel: Quantity, stride, padding: Quantity) -> Value:
        sizes = {"kernel": kernel.value, "stride": stride, "padding": padding.value}
        return self._add("average_pool", "", [x.value], y.width, _side(y), **sizes)

    def upsample(self, x: Feature, y: Feature) -> Value:
        side = y.side.value  # type: ignore[union-attr]
        return self._add("upsample", "", [x.value], y.width, side, factor=side // x.value.side)

    def combine(self, parts: Sequence[tuple[float, Feature]]) -> Value:
        first = parts[0][1]
        if [factor for factor, _ in parts] == [1, 1]:
            return self._add("add", "", [x.value for _, x in parts], first.width, _side(first))
        factors = tuple(factor for factor, _ in parts)
        return self._add("sum", "", [x.value for _, x in parts], first.width, _side(first), factors=factors)

    def attention_scores(self, q: Feature, k: Feature, s: Scores) -> Value:
        return self._scores("scores", "", [q.value, k.value], s, heads=s.heads.value)

    def attention_bias(self, path, s: Scores, stride: int) -> Value:
        return self._scores("distance_bias", path, [s.value], s, stride=stride)

    def mix_heads(self, path, s: Scores) -> Value:
        return self._scores("mix_heads", path, [s.value], s)

    def softmax(self, s: Scores) -> Value:
        return self._scores("softmax", "", [s.value], s)

    def attend(self, s: Scores, v: Feature, y: Feature) -> Value:
        return self._add("attend", "", [s.value, v.value], y.width, _side(y))

    def _scores(self, kind: str, path: str, inputs: Sequence[Value], s: Scores, **sizes: Any) -> Value:
        return self._add(kind, path, inputs, s.heads.value, s.queries.value, s.keys.value, **sizes)

    def channel_shuffle(self, x: Feature, groups: int) -> Value:
        return self._add("shuffle", "", [x.value], x.width, _side(x), groups=groups)

    def mask(self, x: Feature) -> Value:
        return x.value

    def residual(self, x: Feature, y: Feature, agree: Quantity) -> Value:
        return self._add("add", "", [x.value, y.value], y.width, _side(y))

    def mixture(self, parts: Sequence[tuple[Quantity, Feature]], y: Feature) -> Value:
        raise AssertionError("a mixture in a network without choices")

    def ahead(self, nodes: Sequence, x: Feature) -> None:
        """Nothing is taken several nodes at a time."""

    def tap(self, path: str, x: Feature) -> None:
        self.ends.append((path, x.value, len(self.ops)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UserError(f"exports cannot express the operator '{name}' yet")

    def _act(self, x: Value, name: str) -> Value:
        return x if name == "none" else self._add("act", "", [x], x.channels, x.side, name=name)

    def _add(
        self, kind: str, path: str, inputs: Sequence[Value], channels: int, side: int | None,
        keys: int | None = None, **sizes: Any,
    ) -> Value:  # fmt: skip
        output = Value(self.count, channels, side, keys)
        self.count += 1
        self.ops.append(Op(kind, path, tuple(inputs), output, sizes))
        return output


def trace(space: Space) -> Graph:
    """The operators of an architecture; raises `UserError` for a space with choices, or one without class scores."""
    if not space.is_architecture:
        raise UserError(f"{space.source}: a search space with {len(space.choices)} choices, not an architecture")
    graph = _traced(space.nodes, Value(0, space.channels, space.resolution.value))
    if graph.output.side is not None:
        raise InputError(space.source, "the last block must give class scores", accepted="linear: {out: $classes}")
    return graph


def trace_block(block: Block, channels: int, side: int | None) -> Graph:
    """The operators of one block by itself, on a map (or, where `side` is None, a vector) of the given size."""
    return _traced([block], Value(0, channels, side))


def _traced(nodes: Sequence, first: Value) -> Graph:
    tracer = Tracer(first)
    network = Network(tracer)
    side = None if first.side is None else Quantity.constant(first.side)
    last = network.walk(nodes, Feature(first, Quantity.constant(first.channels), side)).value
    blocks, start, x = [], 0, first
    for use, (path, y, end) in zip(network.uses, tracer.ends, strict=True):
        assert use.path == path, (use.path, path)
        fields = {name: q.value for name, q in use.fields.items()}
        blocks.append(TracedBlock(path, use.kind, fields, x, y, tuple(tracer.ops[start:end])))
        start, x = end, y
    return Graph(first, last, tuple(blocks))


def weights_of(variables: Mapping[str, Mapping[str, Any]]) -> Weights:
    """Weights read from the variables of `dnas.nn.supernet`."""

    def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
        group = variables["params"] if name in variables["params"] else variables["batch_stats"]
        return np.asarray(group[name], np.float32).reshape(shape)

    return read


def conv_weight(op: Op, weights: Weights) -> np.ndarray:
    """[k, k, in / groups, out]; every way in which the network stores a convolution has this order."""
    k, x = op.attributes["kernel"], op.inputs[0]
    return weights(f"{op.path}.weight", (k, k, x.channels // op.attributes["groups"], op.output.channels))


def linear_weight(op: Op, weights: Weights) -> np.ndarray:
    """[in, out]"""
    return weights(f"{op.path}.weight", (op.inputs[0].channels, op.output.channels))


def gamma_weight(op: Op, weights: Weights) -> np.ndarray:
    """[channels]"""
    return weights(f"{op.path}.scale", (op.output.channels,))


def head_weights(op: Op, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """[in, out] and [out] of talking heads."""
    heads = op.output.channels
    return weights(f"{op.path}.weight", (heads, heads)), weights(f"{op.path}.bias", (heads,))


def distance_table(op: Op, weights: Weights) -> np.ndarray:
    """[heads, side, side]: a number for each distance between query and key."""
    side = op.output.keys
    assert side is not None
    return weights(f"{op.path}.table", (op.output.channels, side, side))


def spread_distances(op: Op, table: np.ndarray) -> np.ndarray:
    """[heads, queries, keys]: the table's number for every pair."""
    queries, keys, stride = op.output.side, op.output.keys, op.attributes["stride"]
    assert queries is not None and keys is not None
    apart = np.abs(stride * np.arange(queries)[:, None] - np.arange(keys)[None, :])
    spread = table[:, apart[:, None, :, None], apart[None, :, None, :]]
    return spread.reshape(len(table), queries * queries, keys * keys)


def affine(op: Op, weights: Weights, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """(factor, shift) a channel of a norm in evaluation mode or of a gamma, in float64."""
    shape = (op.output.channels,)
    if op.kind == "gamma":
        return gamma_weight(op, weights).astype(np.float64), np.zeros(shape)
    parts = (weights(f"{op.path}.{name}", shape) for name in ("scale", "shift", "mean", "var"))
    scale, shift, mean, var = (part.astype(np.float64) for part in parts)
    factor = scale / np.sqrt(var + epsilon)
    return factor, shift - mean * factor


def uses(ops: Sequence[Op], last: Value) -> dict[int, int]:
    """Value number -> how often it is read (the network's output counts as one)."""
    count = {last.index: 1}
    for op in ops:
        for value in op.inputs:
            count[value.index] = count.get(value.index, 0) + 1
    return count


def folded(ops: Sequence[Op], last: Value) -> list[tuple[Op, tuple[Op, ...]]]:
    """Operators in order, each convolution or linear layer with the norm and the gamma that only its result enters."""
    read = uses(ops, last)
    pairs: list[tuple[Op, tuple[Op, ...]]] = []
    place: dict[int, int] = {}
    for op in ops:
        source = op.inputs[0].index
        if op.kind in ("norm", "gamma") and source in place and read[source] == 1:
            maker, after = pairs[place[source]]
            pairs[place[source]] = replace(maker, output=op.output), (*after, op)
            place[op.output.index] = place.pop(source)
            continue
        if op.kind in ("conv", "linear"):
            place[op.output.index] = len(pairs)
        pairs.append((op, ()))
    return pairs


def _side(x: Feature) -> int | None:
    return None if x.side is None else x.side.value
