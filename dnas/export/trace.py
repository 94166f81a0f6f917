"""An architecture as exporters read it: the nodes of its graph with numbers in the place of quantities.

An operator's kind is the name under which `dnas.ops` registers it. Every exporter is a table of writers by that name;
what writers share is read from what the operator declares, so nothing here knows one from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dnas.errors import UserError
from dnas.graph import BlockUse, Builder, check_scores, graph_of
from dnas.graph.graph import Graph
from dnas.graph.parts import Node, blocks_of, nodes_of
from dnas.maths.windows import APART, regions
from dnas.ops import Select
from dnas.ops.attention import Attend, Uneven
from dnas.ops.tensor import CHANNELS, KEYS, QUERIES, ROWS, TOKENS, Feature, Tensor, leaves
from dnas.space.entries import Cut
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

    @property
    def is_vector(self) -> bool:
        """Whether it has channels alone."""
        return len(self.sizes) == 1

    @property
    def around(self) -> tuple[int, ...]:
        """Lengths of the axes before tokens, such as windows."""
        return tuple(self.sizes.values())[: list(self.sizes).index(TOKENS)] if TOKENS in self.sizes else ()


@dataclass(frozen=True)
class Op:
    """A node that computes something, and the values that it reads and makes."""

    node: Node
    inputs: tuple[Value, ...]
    output: Value

    @property
    def kind(self) -> str:
        return self.node.operator.name

    @property
    def path(self) -> str:
        """Names its weights; empty where it has none."""
        return self.node.path if self.shapes else ""

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Plain values by name."""
        return self.node.operator.attributes()

    @property
    def word(self) -> str | None:
        """What a description of the block says for it: None for its own name, nothing for an empty text."""
        return self.node.operator.word

    @property
    def result_bits(self) -> int | None:
        """Of its result, where that is quantised."""
        return None if self.node.quantized is None else self.node.quantized.result

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its parameters and statistics, by their names within it."""
        return {name: p.lengths for name, p in self.node.operator.parameters(*self.node.inputs).items()}

    def leaf(self, name: str, weights: Weights) -> np.ndarray:
        """A parameter or statistic in the shape that the operator declares."""
        return weights(f"{self.path}.{name}", self.shapes[name])


@dataclass(frozen=True)
class Ends:
    """What goes into a block or a network, and what comes out."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def input(self) -> Value:
        """The first, of which costs speak; the images of a whole network."""
        return self.inputs[0]

    @property
    def output(self) -> Value:
        """The first, of which costs speak; the class scores of a whole network."""
        return self.outputs[0]


@dataclass(frozen=True)
class NetworkBlock(Ends):
    """The operators of one block, in order; none for an identity."""

    use: BlockUse
    ops: tuple[Op, ...]

    @property
    def path(self) -> str:
        return self.use.path

    @property
    def kind(self) -> str:
        return self.use.kind

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Plain values by name."""
        return {name: q.value for name, q in self.use.fields.items()}


@dataclass(frozen=True)
class Network(Ends):
    """A network without choices, or one block, as a chain of blocks."""

    blocks: tuple[NetworkBlock, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        return tuple(op for block in self.blocks for op in block.ops)


def trace(space: Space) -> Network:
    """An architecture; raises `UserError` for a space with choices, or one without class scores."""
    if not space.is_architecture:
        raise UserError(f"{space.source}: a search space with {len(space.choices)} choices, not an architecture")
    check_scores(space)
    return network_of(graph_of(space))


def trace_block(block: Block, x: Feature) -> Network:
    """One block by itself, on what it is given."""
    builder = Builder()
    y = builder.node(block, x)
    return _network(x, y, blocks_of(builder.parts))


def network_of(graph: Graph) -> Network:
    """A graph without choices, as those of architectures are, or `graph.fix(assignment)`."""
    return _network(graph.input, graph.output, graph.uses)


def _network(x: Feature, y: Feature, uses: Iterable[BlockUse]) -> Network:
    values = {tensor: _value(index, tensor) for index, tensor in enumerate(leaves(x))}
    blocks = tuple(_block(use, values) for use in uses)
    return Network(_all(x, values), _all(y, values), blocks)


def _block(use: BlockUse, values: dict[Tensor, Value]) -> NetworkBlock:
    ops = tuple(_op(node, values) for node in nodes_of(use.parts) if not node.idle)
    return NetworkBlock(_all(use.input, values), _all(use.out, values), use, ops)


def _all(feature: Feature, values: Mapping[Tensor, Value]) -> tuple[Value, ...]:
    return tuple(values[tensor] for tensor in leaves(feature))


def _op(node: Node, values: dict[Tensor, Value]) -> Op:
    inputs = tuple(values[x] for x in node.inputs)
    values[node.output] = output = _value(len(values), node.output)
    return Op(node, inputs, output)


def _value(index: int, tensor: Tensor) -> Value:
    return Value(index, {axis.name: axis.length for axis in tensor.axes})


def weights_of(variables: Mapping[str, Mapping[str, Any]]) -> Weights:
    """Weights read from the variables of `dnas.nn.supernet`."""

    def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
        group = variables["params"] if name in variables["params"] else variables["batch_stats"]
        return np.asarray(group[name], np.float32).reshape(shape)

    return read


def reads(ops: Sequence[Op], outputs: Sequence[Value]) -> dict[int, int]:
    """Value number -> how often it is read (an output counts as one)."""
    count: dict[int, int] = {}
    for value in (*outputs, *(value for op in ops for value in op.inputs)):
        count[value.index] = count.get(value.index, 0) + 1
    return count


# What writers share: arrays in the orders that others want ---------------------------------------------------------


def convolution(op: Op) -> dict[str, Any]:
    """Kernel, stride, padding, groups and bias of whatever is a convolution to others, a matrix product among them."""
    own = {"kernel": 1, "stride": 1, "padding": 0} | op.attributes
    every = own["kernel"] ** 2 * op.inputs[0].channels * op.output.channels
    sizes = {name: own[name] for name in ("kernel", "stride", "padding")}
    return sizes | {"groups": every // math.prod(op.shapes["weight"]), "bias": "bias" in op.shapes}


def conv_weight(op: Op, weights: Weights) -> np.ndarray:
    """[k, k, in / groups, out]; every way in which the network stores a convolution has this order."""
    kernel = convolution(op)["kernel"]
    return op.leaf("weight", weights).reshape(kernel, kernel, -1, op.output.channels)


def entries_taken(op: Op) -> tuple[int, tuple[int, ...]]:
    """The axis of which an operator takes some entries, the batch being the first, and their places on it."""
    x, select = op.node.inputs[0], op.node.operator
    assert isinstance(select, Select)
    places = select.places(x)
    assert places is not None, op.node.path
    return 1 + x.names.index(select.axis), places


def tokens_left(op: Op) -> dict[str, tuple[int, ...] | None]:
    """Queries and keys that are left of those there are distances for; None where all are."""
    pairs = next(x for x in (op.node.output, *op.node.inputs) if KEYS in x.names)
    sizes = {name: pairs[name].size for name in (QUERIES, KEYS)}
    return {name: size.entries if isinstance(size, Cut) else None for name, size in sizes.items()}


def uneven_heads(op: Op) -> Uneven | None:
    """How the heads of an `attend` share the channels of its values; None where all have as many."""
    return Attend.uneven(*op.node.inputs)


def spread_distances(op: Op, table: np.ndarray) -> np.ndarray:
    """[heads, queries, keys]: the table's number for every pair."""
    queries, keys, stride = (op.attributes[name] for name in ("queries", "keys", "stride"))
    apart = np.abs(stride * np.arange(queries)[:, None] - np.arange(keys)[None, :])
    spread = table[:, apart[:, None, :, None], apart[None, :, None, :]]
    return spread.reshape(len(table), queries * queries, keys * keys)


def distance_vectors(op: Op, weights: Weights) -> np.ndarray:
    """[queries, keys, width]: the vectors of the distances of every pair."""
    a = op.attributes
    place, total = np.arange(a["side"] ** 2), np.zeros(())
    for name, at in (("rows", place // a["side"]), ("columns", place % a["side"])):
        index = np.clip(at[None] - at[:, None], -a["reach"], a["reach"]) + a["reach"] + 1
        total = total + op.leaf(name, weights)[np.pad(index, ((a["before"], 0), (a["before"], 0)))]
    for axis, left in enumerate(tokens_left(op).values()):
        total = total if left is None else total.take(left, axis)
    return total.astype(np.float32)


def window_biases(op: Op, weights: Weights) -> np.ndarray:
    """[1 or windows, heads, queries, keys]: what is added to the scores within windows."""
    a, table = op.attributes, op.leaf("table", weights)
    count, place = 2 * a["window"] - 1, np.arange(a["window"] ** 2)
    rows, columns = (at[:, None] - at[None] + a["window"] - 1 for at in (place // a["window"], place % a["window"]))
    bias = table[rows * count + columns].transpose(2, 0, 1)[None]
    if not a["shift"]:
        return bias
    part = regions(a["side"], a["window"], a["shift"])
    return (bias + np.where(part[:, :, None] == part[:, None], 0, APART)[:, None]).astype(np.float32)


def circulant_matrix(op: Op, weights: Weights) -> np.ndarray:
    """[in, out]"""
    coefficients = op.leaf("coefficients", weights)
    blocks, _, d = coefficients.shape
    index = (np.arange(d)[:, None] - np.arange(d)) % d
    return coefficients[:, :, index].transpose(0, 2, 1, 3).reshape(blocks * d, blocks * d).T
