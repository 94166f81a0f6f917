"""An architecture as a list of plain operators: its graph with numbers in the place of quantities.

An operator's kind is the name under which `dnas.ops` registers it. Every exporter is a table of writers by that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dnas.errors import InputError, UserError
from dnas.graph import Builder, graph_of
from dnas.graph.graph import BlockUse, Node
from dnas.graph.graph import Graph as SpaceGraph
from dnas.ops.tensor import CHANNELS, HEADS, ROWS, Tensor, on
from dnas.space.quantity import Quantity
from dnas.space.space import Block, Space

Weights = Callable[[str, tuple[int, ...]], np.ndarray]
"""(name of a parameter or statistic, shape) -> float32 array of that shape."""


@dataclass(frozen=True)
class Value:
    """A tensor between operators: its number, and the lengths of its axes by name, without the batch."""

    index: int
    sizes: Mapping[str, int]

    @property
    def channels(self) -> int:
        return self.sizes[CHANNELS]

    @property
    def side(self) -> int | None:
        """Of a map."""
        return self.sizes.get(ROWS)


@dataclass(frozen=True)
class Op:
    """One operator. `path` names its weights, or is empty where it has none."""

    kind: str
    path: str
    inputs: tuple[Value, ...]
    output: Value
    attributes: Mapping[str, Any]
    word: str | None = None
    """What a description of the block says for it: None for its own name, nothing for an empty text."""


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


def trace(space: Space) -> Graph:
    """The operators of an architecture; raises `UserError` for a space with choices, or one without class scores."""
    if not space.is_architecture:
        raise UserError(f"{space.source}: a search space with {len(space.choices)} choices, not an architecture")
    graph = _traced(graph_of(space))
    if graph.output.side is not None:
        raise InputError(space.source, "the last block must give class scores", accepted="linear: {out: $classes}")
    return graph


def trace_block(block: Block, channels: int, side: int | None) -> Graph:
    """The operators of one block by itself, on a map (or, where `side` is None, a vector) of the given size."""
    builder, x = Builder(), on(None if side is None else Quantity.constant(side), Quantity.constant(channels))
    return _traced(builder.graph(x, builder.node(block, x)))


def _traced(graph: SpaceGraph) -> Graph:
    values: dict[Tensor, Value] = {graph.input: _value(0, graph.input)}
    blocks = tuple(_block(use, values) for use in graph.uses)
    return Graph(values[graph.input], values[graph.output], blocks)


def _block(use: BlockUse, values: dict[Tensor, Value]) -> TracedBlock:
    fields = {name: q.value for name, q in use.fields.items()}
    ops = tuple(_ops(use, values))
    return TracedBlock(use.path, use.kind, fields, values[use.input], values[use.out], ops)


def _ops(use: BlockUse, values: dict[Tensor, Value]) -> Iterator[Op]:
    for node in use.parts:
        assert isinstance(node, Node), "a mixture in a network without choices"
        if not node.idle:
            inputs = tuple(values[x] for x in node.inputs)
            values[node.output] = output = _value(len(values), node.output)
            path, operator = node.path if node.parameters else "", node.operator
            yield Op(operator.name, path, inputs, output, operator.attributes(), operator.word)


def _value(index: int, tensor: Tensor) -> Value:
    return Value(index, {axis.name: axis.length for axis in tensor.axes})


def weights_of(variables: Mapping[str, Mapping[str, Any]]) -> Weights:
    """Weights read from the variables of `dnas.nn.supernet`."""

    def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
        group = variables["params"] if name in variables["params"] else variables["batch_stats"]
        return np.asarray(group[name], np.float32).reshape(shape)

    return read


def convolution(op: Op) -> dict[str, Any]:
    """Kernel, stride, padding, groups and bias of whatever is a convolution to others."""
    a = op.attributes
    match op.kind:
        case "conv":
            return {name: a[name] for name in ("kernel", "stride", "padding", "groups", "bias")}
        case "depthwise":
            own = {name: a[name] for name in ("kernel", "stride", "padding")}
            return {**own, "groups": op.output.channels, "bias": a["bias"]}
        case "pointwise":
            return {"kernel": 1, "stride": 1, "padding": 0, "groups": 1, "bias": a["bias"]}
    raise AssertionError(op.kind)


CONVOLUTIONS = ("conv", "depthwise", "pointwise")


def conv_weight(op: Op, weights: Weights) -> np.ndarray:
    """[k, k, in / groups, out]; every way in which the network stores a convolution has this order."""
    a, channels = convolution(op), op.inputs[0].channels
    return weights(f"{op.path}.weight", (a["kernel"], a["kernel"], channels // a["groups"], op.output.channels))


def linear_weight(op: Op, weights: Weights) -> np.ndarray:
    """[in, out]"""
    return weights(f"{op.path}.weight", (op.inputs[0].channels, op.output.channels))


def scale_weight(op: Op, weights: Weights) -> np.ndarray:
    """[channels]"""
    return weights(f"{op.path}.scale", (op.output.channels,))


def head_weights(op: Op, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """[in, out] and [out] of talking heads."""
    heads = op.output.sizes[HEADS]
    return weights(f"{op.path}.weight", (heads, heads)), weights(f"{op.path}.bias", (heads,))


def distance_table(op: Op, weights: Weights) -> np.ndarray:
    """[heads, side, side]: a number for each distance between query and key."""
    side = op.attributes["keys"]
    return weights(f"{op.path}.table", (op.output.sizes[HEADS], side, side))


def spread_distances(op: Op, table: np.ndarray) -> np.ndarray:
    """[heads, queries, keys]: the table's number for every pair."""
    queries, keys, stride = (op.attributes[name] for name in ("queries", "keys", "stride"))
    apart = np.abs(stride * np.arange(queries)[:, None] - np.arange(keys)[None, :])
    spread = table[:, apart[:, None, :, None], apart[None, :, None, :]]
    return spread.reshape(len(table), queries * queries, keys * keys)


Affine = tuple[np.ndarray, np.ndarray]
"""Factor and shift a channel, in float64."""


def _norm_affine(op: Op, weights: Weights, epsilon: float) -> Affine:
    """Of a norm in evaluation mode."""
    parts = (weights(f"{op.path}.{name}", (op.output.channels,)) for name in ("scale", "shift", "mean", "var"))
    scale, shift, mean, var = (part.astype(np.float64) for part in parts)
    factor = scale / np.sqrt(var + epsilon)
    return factor, shift - mean * factor


def _scale_affine(op: Op, weights: Weights, epsilon: float) -> Affine:
    return scale_weight(op, weights).astype(np.float64), np.zeros(op.output.channels)


AFFINE: dict[str, Callable[[Op, Weights, float], Affine]] = {
    "batch_norm": _norm_affine,
    "layer_scale": _scale_affine,
}
"""What can move into the weights of the convolution or linear layer before it."""
TAKES_AFFINE = (*CONVOLUTIONS, "linear")


def uses(ops: Sequence[Op], last: Value) -> dict[int, int]:
    """Value number -> how often it is read (the network's output counts as one)."""
    count = {last.index: 1}
    for op in ops:
        for value in op.inputs:
            count[value.index] = count.get(value.index, 0) + 1
    return count


def folded(ops: Sequence[Op], last: Value) -> list[tuple[Op, tuple[Op, ...]]]:
    """Operators in order, each convolution or linear layer with what is affine and only its result enters."""
    read = uses(ops, last)
    pairs: list[tuple[Op, tuple[Op, ...]]] = []
    place: dict[int, int] = {}
    for op in ops:
        source = op.inputs[0].index
        if op.kind in AFFINE and source in place and read[source] == 1:
            maker, after = pairs[place[source]]
            pairs[place[source]] = replace(maker, output=op.output), (*after, op)
            place[op.output.index] = place.pop(source)
            continue
        if op.kind in TAKES_AFFINE:
            place[op.output.index] = len(pairs)
        pairs.append((op, ()))
    return pairs
