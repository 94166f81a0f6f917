"""Weights of a supernet as the weights of one of its networks: each parameter has the entries that its sizes keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dnas.graph import graph_of
from dnas.graph.architecture import Architecture
from dnas.graph.parts import Node, Part, nodes_of
from dnas.nn.supernet import Variables
from dnas.space.quantity import Assignment


def inherit(variables: Variables, architecture: Architecture) -> Variables:
    """Parameters and norm statistics of `architecture`, cut from those of the supernet it was derived from."""
    uses = {use.path: use for use in graph_of(architecture.space).uses}
    found: Variables = {"params": {}, "batch_stats": {}}
    for path, source in architecture.sources.items():
        cut = inherited([uses[source]], architecture.assignment, variables)
        for group, values in cut.items():
            found[group] |= {path + name.removeprefix(source): value for name, value in values.items()}
    return found


def inherited(parts: Sequence[Part], assignment: Assignment, variables: Variables) -> Variables:
    """Of the operators that exist, under their own paths."""
    found: Variables = {"params": {}, "batch_stats": {}}
    for node in nodes_of(parts):
        if all(condition.at(assignment) for condition in node.conditions):
            for group, path, value in _of_node(node, assignment, variables):
                found[group][path] = value
    return found


def _of_node(
    node: Node, assignment: Assignment, variables: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, Any]]:
    """(group, path, value)"""
    groups = {
        name: "batch_stats" if parameter.statistic else "params"
        for name, parameter in node.operator.parameters(*node.inputs).items()
    }
    stored = {name: variables[group][f"{node.path}.{name}"] for name, group in groups.items()}
    for name, value in node.operator.inherited(stored, assignment, *node.inputs).items():
        yield groups.get(name, "params"), f"{node.path}.{name}", value
    for name in node.scales:
        yield "batch_stats", f"{node.path}.{name}", variables["batch_stats"][f"{node.path}.{name}"]
