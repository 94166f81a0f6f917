"""The graph of a space and its last tensor, under their former name."""

from __future__ import annotations

from dnas.graph import BlockUse as BlockUse
from dnas.graph import Graph as Network
from dnas.graph import graph_of
from dnas.ops.tensor import Tensor
from dnas.space.space import Space


def shapes(space: Space) -> tuple[Network, Tensor]:
    """The graph of a space, at the space's own input and classes, and what it gives."""
    graph = graph_of(space)
    return graph, graph.output
