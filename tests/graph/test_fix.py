"""A graph with its choices decided is the graph of the architecture that is written and read back."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.cost.ledger import COSTS, at
from dnas.grammar.catalogue import load_space
from dnas.graph import Graph, graph_of
from dnas.graph.architecture import architecture
from dnas.space.space import Space


def drawn(space: Space, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {choice.name: int(rng.integers(len(choice))) for choice in space.choices}


def operators(graph: Graph) -> list[tuple]:
    """Each operator with the lengths of what it reads and gives, and its parameters, whatever their paths."""
    return [
        (
            node.operator.name,
            [[axis.size.value for axis in x.axes] for x in (*node.inputs, node.output)],
            [(parameter.lengths, parameter.start) for parameter in node.parameters.values()],
        )
        for node in graph.nodes
    ]


@pytest.mark.parametrize("name", ["tiny", "fashion", "fbnetv1_32", "efficientformer_tiny", "efficientformerv2_tiny"])
@pytest.mark.parametrize("seed", range(3))
def test_decided_is_written_and_read_back(name, seed):
    space = load_space(name)
    assignment = drawn(space, seed)
    fixed, written = graph_of(space).fix(assignment), graph_of(architecture(space, assignment).network)
    assert operators(fixed) == operators(written)
    for cost in COSTS.values():
        expected = at(cost(graph_of(space).ledger), assignment)
        assert at(cost(fixed.ledger), {}) == at(cost(written.ledger), {}) == expected


def test_a_graph_is_made_once_and_printed_a_line_an_operator():
    space = load_space("tiny")
    graph = graph_of(space)
    assert graph_of(space) is graph
    assert len(str(graph).splitlines()) == len(graph.nodes)
