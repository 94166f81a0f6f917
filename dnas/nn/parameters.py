"""Where a forward pass finds parameters and running statistics: each by its path, those of sampled blocks as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dnas.graph.parts import LayerRun, Part, nodes_of
from dnas.nn.rows import MATRICES, STATISTICS, VECTORS, Rows, Shapes, Table, of_kinds, put, split, tables, take
from dnas.ops.operator import Parameter


@runtime_checkable
class Parameters(Protocol):
    """Of a whole network, or of one block."""

    def get(self, path: str, parameter: Parameter) -> Array:
        """A parameter or a running statistic."""
        ...

    def update(self, path: str, value: Array) -> None:
        """Notes the running statistic that follows."""
        ...

    def blocks(self, run: LayerRun) -> Blocks:
        """Of the blocks of a run of layers."""
        ...


@runtime_checkable
class Blocks(Protocol):
    """Parameters of the blocks of a run of layers."""

    def rows(self, chosen: Int[Array, "layers paths"]) -> Rows:
        """Of the blocks that run."""
        ...

    def ran(self, chosen: Int[Array, "layers paths"], statistics: Float[Array, "layers paths longest"]) -> None:
        """Notes the statistics that they have after."""
        ...


class Own(NamedTuple):
    """Parameters and running statistics of some parts, by path, in the order in which they are met."""

    weights: dict[str, Array]
    statistics: dict[str, Array]

    def get(self, path: str, parameter: Parameter) -> Array:
        return self.statistics[path] if parameter.statistic else self.weights[path]

    def update(self, path: str, value: Array) -> None:
        self.statistics[path] = value

    def blocks(self, run: LayerRun) -> Blocks:
        return LeafBlocks(own_of(self, run.layers), run, self.update)


def own_of(parameters: Parameters, parts: Sequence[Part]) -> Own:
    """What some parts have of all parameters."""
    own = Own({}, {})
    for node in nodes_of(parts):
        for path, parameter in node.parameters.items():
            (own.statistics if parameter.statistic else own.weights)[path] = parameters.get(path, parameter)
    return own


def shapes_of(parts: Sequence[Part]) -> Shapes:
    """Of the parameters of some parts."""
    found = Shapes({}, {}, {})
    for node in nodes_of(parts):
        for path, parameter in node.parameters.items():
            of_weights = found.matrices if parameter.decays else found.vectors
            (found.statistics if parameter.statistic else of_weights)[path] = parameter.lengths
    return found


@dataclass(frozen=True, eq=False)
class LeafBlocks:
    """Blocks whose parameters are leaves of their own, with gradients for all of them."""

    own: Own
    run: LayerRun
    update: Callable[[str, Array], None]

    def rows(self, chosen: Array) -> Rows:
        found = self._tables()
        return Rows(*(take(self._vector(kind, found[kind].longest), found[kind], chosen) for kind in found))

    def ran(self, chosen: Array, statistics: Array) -> None:
        table = self._tables()[STATISTICS]
        vector = put(self._vector(STATISTICS, table.longest), table, chosen, statistics)
        leaves = dict(self._leaves(STATISTICS))
        for path, leaf in zip(leaves, split(vector[: table.size], tuple(leaves.values())), strict=True):
            self.update(path, leaf)

    def _tables(self) -> dict[str, Table]:
        return tables(self._shapes(), dict.fromkeys((MATRICES, VECTORS, STATISTICS), 0))

    def _shapes(self) -> list[list[Shapes]]:
        return [[shapes_of(branch.parts) for branch in layer.branches] for layer in self.run.layers]

    def _leaves(self, kind: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        for layer in self._shapes():
            for shapes in layer:
                yield from of_kinds(shapes)[kind].items()

    def _vector(self, kind: str, after: int) -> Array:
        leaves = self.own.statistics if kind == STATISTICS else self.own.weights
        return jnp.concatenate([*(jnp.ravel(leaves[path]) for path, _ in self._leaves(kind)), jnp.zeros(after)])
