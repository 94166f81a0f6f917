"""The products of a network that are quantised, and the layer parts that share their bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dnas.cost.size import array_bytes
from dnas.export.onnx_writers import folded
from dnas.export.trace import trace
from dnas.graph import graph_of
from dnas.graph.parts import BlockUse, Node, nodes_of
from dnas.ops.operator import WEIGHT
from dnas.ops.tensor import CHANNELS
from dnas.space.quantized import RESULT_BITS, Quantized
from dnas.space.space import Space


@dataclass(frozen=True, eq=False)
class Part:
    """Products that share their bits: those of an attention, of an MLP, of a convolutional block."""

    name: str
    products: tuple[Node, ...]
    map_of: str | None
    """Path of its attention map, where it has one."""

    @property
    def output(self) -> str:
        """Path of its feature: what its last product gives."""
        return self.products[-1].path

    def bytes(self, bits: int) -> int:
        """Of its quantised weights."""
        return sum(array_bytes(weights, bits) for weights in map(_weights, self.products) if weights is not None)

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(weights.length for weights in map(_weights, self.products) if weights is not None)


def parts_of(network: Space) -> list[Part]:
    """In the order of the network. A part ends where its block ends, or where a branch is added to its input."""
    found = []
    for use in graph_of(network).uses:
        runs = _runs(use)
        for n, run in enumerate(runs):
            products = tuple(node for node in run if node.operator.second is not None)
            maps = [node.path for node in run if node.operator.of_attention == "map"]
            name = use.path if len(runs) == 1 else f"{use.path} ({n + 1} of {len(runs)})"
            found.append(Part(name, products, maps[0] if maps else None))
    return found


def _runs(use: BlockUse) -> list[list[Node]]:
    """The block's operators up to each addition; those without a product belong to the next run that has one."""
    runs: list[list[Node]] = [[]]
    for node in nodes_of(use.parts):
        runs[-1].append(node)
        if node.operator.branch is not None and _has_product(runs[-1]):
            runs.append([])
    return [run for run in runs if _has_product(run)]


def _has_product(nodes: list[Node]) -> bool:
    return any(node.operator.second is not None for node in nodes)


def quantization(network: Space, bits: Mapping[str, int]) -> dict[str, Quantized]:
    """How every operator is quantised, given the bits of products by path.

    Weights of what is written as a convolution have a step for each output channel: depthwise kernels differ a hundred
    times from channel to channel. Their results go to the next integer kernel in 8 bits, after the norm that is folded
    into them.
    """
    found = {}
    for node in graph_of(network).nodes:
        if node.operator.second is not None:
            found[node.path] = Quantized(bits[node.path], per_channel(node))
    for op, after in folded(trace(network).ops, trace(network).outputs):
        if per_channel(op.node) and CHANNELS in op.node.output.names and bits[op.node.path] <= RESULT_BITS:
            last = (op, *after)[-1].node.path
            how = found.get(last, Quantized())
            found[last] = Quantized(how.bits, how.per_channel, RESULT_BITS)
    return found


def per_channel(node: Node) -> bool:
    """Whether a product has weights with a step a channel."""
    return node.operator.second == WEIGHT and any(record.convolves for record in node.records)


def _weights(node: Node):
    return node.operator.parameters(*node.inputs).get(node.operator.second or "")
