"""Bytes of an architecture's weights as they are stored: quantised weights in their bits, all else as float32."""

from __future__ import annotations

from dnas.graph.graph import Graph
from dnas.graph.parts import Node
from dnas.ops.operator import Parameter

FLOAT_BITS = 32


def stored_bytes(graph: Graph) -> int:
    """Of all parameters, statistics and steps of a network without choices; each array begins at a byte of its own."""
    return sum(array_bytes(p, bits_of(node, name)) for node in graph.nodes for name, p in _arrays(node).items())


def array_bytes(parameter: Parameter, bits: int) -> int:
    """Of an array of so many bits a number."""
    return -(-parameter.length * bits // 8)


def bits_of(node: Node, name: str) -> int:
    """Of each number of one of a node's arrays."""
    how = node.quantized
    quantised = how is not None and how.bits is not None and name == node.operator.second
    return how.bits if quantised and how is not None and how.bits is not None else FLOAT_BITS


def _arrays(node: Node) -> dict[str, Parameter]:
    return {**node.operator.parameters(*node.inputs), **node.scales}
