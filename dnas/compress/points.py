"""Where channels may go without changing the size of anything else: the prune points of a network, read off its graph.

A point is an operator with channels of its own which, a few steps on, only products read that sum them all up. A factor
of zero behind the last operator before those products is then the same as channels that were never made. Of a vision
transformer these are VTP's four of a block (Zhu et al. 2021, section 3.2): what queries, keys and values read, what the
output projection reads, what the MLP reads, and its hidden layer. Of an inverted bottleneck it is the hidden layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dnas.errors import UserError
from dnas.graph import Graph, graph_of
from dnas.graph.graph import GATE
from dnas.graph.parts import Node
from dnas.ops import LayerNorm
from dnas.ops.combine import WeightedSum
from dnas.ops.operator import WEIGHT
from dnas.ops.tensor import CHANNELS, Tensor
from dnas.space.entries import kept
from dnas.space.quantity import Quantity
from dnas.space.space import Space

LEFT = ".kept"
"""Ends the path of the operator that leaves channels out behind one without a width of its own."""


class Point(NamedTuple):
    """Channels of which any may go."""

    path: str
    """Of the operator that makes them, by which `keep` names those that are left."""
    gate: str
    """Of the operator behind whose result a factor a channel says what they are worth."""
    length: int
    readers: tuple[str, ...]
    """Paths of the weights whose last axis but one they are."""

    @property
    def scale(self) -> str:
        """Path of the factors."""
        return f"{self.gate}.{GATE}.scale"


@dataclass(frozen=True, eq=False)
class _Network:
    """A plain network, with what makes and what reads each tensor."""

    graph: Graph
    nodes: Mapping[str, Node]
    makers: Mapping[Tensor, Node]
    widths: Mapping[str, int]

    @classmethod
    def of(cls, graph: Graph) -> _Network:
        working = [node for node in graph.nodes if not node.idle]
        return cls(graph, {n.path: n for n in working}, {n.output: n for n in working}, _widths(graph))


def points(space: Space) -> tuple[Point, ...]:
    """The prune points of an architecture, in the order of the network."""
    network = _Network.of(graph_of(space))
    return tuple(point for node in network.nodes.values() if (point := _point(network, node)) is not None)


def kept_entries(space: Space, left: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """`keep` of the architecture of which, by point, these channels are left, counted as its file does."""
    found = {path: list(entries) for path, entries in space.keep.items()}
    for path, entries in left.items():
        path = path.removesuffix(LEFT)
        before = found.get(path)
        found[path] = [n if before is None else before[n] for n in entries]
    return found


def _point(network: _Network, node: Node) -> Point | None:
    width = network.widths.get(node.path, 0)
    if width < 2 or not (_has_width(node) or isinstance(node.operator, LayerNorm)):
        return None
    changed = _changed(network, node, width)
    if changed is None or any(n.operator.across for n in network.nodes.values() if n.path in changed and n is not node):
        return None
    rest = [n for n in network.nodes.values() if n.path not in changed]
    reads = [(n, x) for n in rest for x in n.inputs if _made_by(network, x, changed)]
    if not reads or not all(n.operator.sums_channels and x is n.inputs[0] for n, x in reads):
        return None
    if not _has_width(node) and all(_scores(network, n) for n, _ in reads):
        return None  # what classifiers alone read of a norm: nothing would be saved before it
    order = [n for n in network.nodes.values() if n.path in changed]
    ends = [network.makers[x] for _, x in reads]
    gate = next((m for m in reversed(order) if all(m in _before(network, end, changed) for end in ends)), None)
    if gate is None:
        return None
    return Point(node.path, gate.path, width, tuple(f"{n.path}.{WEIGHT}" for n, _ in reads))


def _scores(network: _Network, node: Node) -> bool:
    """Whether its result is the network's scores, or one of several whose mean they are."""
    after = [n for n in network.nodes.values() if node.output in n.inputs]
    mean = bool(after) and all(isinstance(n.operator, WeightedSum) and n.output is network.graph.output for n in after)
    return node.output is network.graph.output or mean


def _has_width(node: Node) -> bool:
    return node.operator.keeping(Quantity.constant(1)) is not None


def _changed(network: _Network, node: Node, width: int) -> set[str] | None:
    """Operators whose results become narrower with that of `node`, itself among them; None where it cannot be."""
    try:
        narrow = network.graph.keeping({node.path: kept(width, range(width - 1))}).fix({})
    except UserError:
        return None
    widths = _widths(narrow)
    if any(path not in widths for path in network.widths):
        return None  # a residual path is lost where widths no longer agree
    return {node.path} | {path for path, before in network.widths.items() if widths[path] != before}


def _widths(graph: Graph) -> dict[str, int]:
    return {n.path: n.output[CHANNELS].length for n in graph.nodes if not n.idle and CHANNELS in n.output.names}


def _made_by(network: _Network, x: Tensor, paths: set[str]) -> bool:
    return x in network.makers and network.makers[x].path in paths


def _before(network: _Network, node: Node, within: set[str]) -> Iterator[Node]:
    """The operator, and those before it to which its result is proportional."""
    yield node
    while (which := node.operator.proportional) is not None:
        maker: Any = network.makers.get(node.inputs[which])
        if maker is None or maker.path not in within:
            return
        node = maker
        yield node
