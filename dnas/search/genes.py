"""What evolution makes of networks: children by mutation and by crossover, on rows of option indices.

A gene is a choice. It is of the whole network where it is a depth, a resolution, or shapes more than one block (a width
that several blocks share or hand on); else it is of one block. In a network without a block that block's genes are
idle: they have no value, so a child that gets the block has them drawn, or takes them from the parent that has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from dnas.graph import Graph
from dnas.graph.graph import BlockUse, nodes_of
from dnas.ops.tensor import Feature, leaves
from dnas.search.actions import depth_choices
from dnas.solve.many import as_assignment
from dnas.solve.relevance import relevance
from dnas.space.quantity import Choice
from dnas.space.space import Node, OneOf, Space, Stage

Rows = Int[np.ndarray, "n choices"]


class Rates(NamedTuple):
    """Probabilities with which a mutation draws a gene anew."""

    block: float
    """A gene of one block."""
    network: float
    """A gene of the whole network."""


class Genes:
    """The genes of a space, in the order of its choices."""

    def __init__(self, space: Space, walked: Graph):
        self.choices = space.choices
        self.sizes = np.array([len(c) for c in self.choices], int)
        shared = network_genes(space, walked)
        self.of_network: Bool[np.ndarray, " choices"] = np.array([c in shared for c in self.choices], bool)
        self._matters = relevance(space, walked)

    def idle(self, rows: Rows) -> Bool[np.ndarray, "n choices"]:
        """Which genes make no difference to each network."""
        named = [as_assignment(row, self.choices) for row in rows]
        idle = [[not self._matters[c.name].at(a) for c in self.choices] for a in named]
        return np.array(idle, bool).reshape(rows.shape)

    def mutated(self, random: np.random.Generator, parents: Rows, count: int, rates: Rates) -> Rows:
        """Copies of random parents in which each gene is drawn anew with its rate."""
        chosen = random.integers(0, len(parents), count)
        children = self._drawn(random, parents, self.idle(parents), chosen)
        anew = random.integers(0, self.sizes, children.shape)
        rate = np.where(self.of_network, rates.network, rates.block)
        return np.where(random.random(children.shape) < rate, anew, children)

    def crossed(self, random: np.random.Generator, parents: Rows, count: int) -> Rows:
        """Children of two random parents, each gene from either with probability 1/2, or from the one that has it.

        The published search crosses parents of one depth alone; with idle genes told apart any two can be crossed.
        """
        idle = self.idle(parents)
        mothers, fathers = (random.integers(0, len(parents), count) for _ in range(2))
        either = random.random((count, len(self.choices))) < 0.5
        from_mother = np.where(idle[mothers] == idle[fathers], either, idle[fathers])
        pair = (self._drawn(random, parents, idle, chosen) for chosen in (mothers, fathers))
        return np.where(from_mother, *pair)

    def _drawn(self, random: np.random.Generator, parents: Rows, idle: Bool[np.ndarray, "n choices"], chosen) -> Rows:
        """Copies of the chosen parents whose idle genes are drawn."""
        anew = random.integers(0, self.sizes, (len(chosen), len(self.sizes)))
        return np.where(idle[chosen], anew, parents[chosen])


def network_genes(space: Space, walked: Graph) -> frozenset[Choice]:
    """Choices of the whole network: depths, resolutions, and all that shape more than one block."""
    position = {path: n for n, paths in enumerate(_positions(space.nodes)) for path in paths}
    shaped: dict[Choice, set[int]] = {c: set() for c in space.choices}
    for use in walked.uses:
        for choice in _shaping(use):
            shaped.setdefault(choice, set()).add(position[use.path])
    several = {choice for choice, positions in shaped.items() if len(positions) > 1}
    return frozenset({*several, *depth_choices(space.nodes), *space.resolution.over})


def _shaping(use: BlockUse) -> set[Choice]:
    """Choices that a block's own fields follow from, and those of the sizes that it gives its result.

    A block without parameters gives no size: it passes on what the one before it has decided.
    """
    fields = {c for field in use.fields.values() for c in field.over} - _sizing(use.input)
    weighs = any(node.parameters for node in nodes_of(use.parts))
    return fields | (_sizing(use.out) if weighs else set())


def _sizing(feature: Feature) -> set[Choice]:
    """Choices that sizes of a feature follow from."""
    return {choice for tensor in leaves(feature) for axis in tensor.axes for choice in axis.size.over}


def _positions(nodes: Sequence[Node]) -> Iterator[list[str]]:
    """Paths of the blocks at each place of the network, of which one exists at a time."""
    for node in nodes:
        match node:
            case Stage(blocks=blocks):
                yield from _positions(blocks)
            case OneOf(branches=branches):
                yield [path for paths in _positions(branches) for path in paths]
            case _:
                yield [node.path]
