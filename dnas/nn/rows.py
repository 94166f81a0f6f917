"""Parameters of the blocks that a step runs, taken from vectors that hold those of all blocks.

Where a few blocks of many are run (`dnas.nn.branches`), most parameters take no part in a step. Those of such blocks
lie behind one another in vectors of their own; a step takes a row for each block that it runs, and gradients, changed
statistics and the optimiser's work are of rows alone. What is not run is neither read nor written.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from dnas.network import Feature, Network, NoValues
from dnas.nn.program import same_layers
from dnas.space.quantity import Quantity
from dnas.space.space import Node, OneOf, Space

Leaves = Mapping[str, tuple[int, ...]]
"""Shapes by path."""
Branches = Sequence[Sequence[str]]
"""Paths of each layer's blocks."""
MATRICES, VECTORS, STATISTICS = "matrices", "vectors", "statistics"


class Shapes(NamedTuple):
    """Of a block's parameters, in the order in which it asks for them."""

    weights: Leaves
    statistics: Leaves


class Rows(NamedTuple):
    """Parameters of blocks that run, behind one another, with zeros after them."""

    matrices: Float[Array, "layers paths longest"]
    vectors: Float[Array, "layers paths longest"]
    statistics: Float[Array, "layers paths longest"]


def largest(gates: Float[Array, "layers options"], paths: int) -> tuple[Array, Int[Array, "layers paths"]]:
    """The largest gates of each layer and their options; the option past the last stands for nothing at all.

    A block whose gate is 0 does not run, even where fewer than `paths` others do: at one-hot gates there is one.
    """
    chosen = lax.top_k(lax.stop_gradient(gates), paths)[1]
    # As a product, for the gradient of an index is a loop on CPU.
    values = jnp.sum(jax.nn.one_hot(chosen, gates.shape[-1], dtype=gates.dtype) * gates[:, None], axis=-1)
    # Not `> 0`: a gate that is NaN must show in the result.
    return values, jnp.where(values == 0, gates.shape[-1], chosen)


# The plan -----------------------------------------------------------------------------------------------------------


def of_kinds(shapes: Shapes) -> dict[str, Leaves]:
    """A block's parameters by kind, in the order of its rows.

    Spatial kernels come last, so that blocks that differ in the size of one kernel have everything in the same places.
    """
    ordered = dict(sorted(shapes.weights.items(), key=lambda item: _is_spatial(item[1])))
    return {
        MATRICES: {path: shape for path, shape in ordered.items() if len(shape) > 1},
        VECTORS: {path: shape for path, shape in ordered.items() if len(shape) <= 1},
        STATISTICS: shapes.statistics,
    }


def _is_spatial(shape: tuple[int, ...]) -> bool:
    """Depthwise kernels [k, k, C] and full ones [k, k, I, O] of more than a pixel."""
    return len(shape) == 3 or (len(shape) == 4 and shape[0] > 1)


def size_of(leaves: Leaves) -> int:
    return sum(math.prod(shape) for shape in leaves.values())


class Table(NamedTuple):
    """Where each block's parameters of one kind lie in a vector that goes on for at least `longest` after the last."""

    starts: Int[np.ndarray, "layers options+1"]
    sizes: Int[np.ndarray, "layers options+1"]
    """0 for the option past the last, which is nothing."""
    longest: int

    @property
    def size(self) -> int:
        return int(self.sizes.sum())


class Run(NamedTuple):
    """Layers, one after another, each a choice between the same blocks (`dnas.nn.program.same_layers`)."""

    choices: tuple[str, ...]
    branches: tuple[tuple[str, ...], ...]
    """Paths of each layer's blocks."""

    @property
    def name(self) -> str:
        """The first block's path."""
        return self.branches[0][0]


def sampled_runs(space: Space, paths: int | None) -> list[Run]:
    """The choices between more than `paths` blocks, in the order in which they are run."""
    if paths is None:
        return []
    found: Any = _Runs(paths)
    Network(found).walk(space.nodes, Feature(None, Quantity.constant(space.channels), space.resolution))
    return found.runs


class _Runs(NoValues):
    """Values of a walk that notes choices between blocks, and does not enter them."""

    def __init__(self, paths: int):
        self.paths, self.runs = paths, list[Run]()

    def ahead(self, nodes: Sequence[Node], x: Feature) -> tuple[int, Feature] | None:
        node = nodes[0]
        if not isinstance(node, OneOf) or len(node.branches) <= self.paths:
            return None
        layers = same_layers(nodes, x)
        branches = tuple(tuple(branch.path for branch in layer.branches) for layer in layers.nodes)
        self.runs.append(Run(tuple(layer.choice.name for layer in layers.nodes), branches))
        return len(layers.nodes), layers.y


def tables(branches: Branches, shapes: Callable[[str], Shapes], starts: Mapping[str, int]) -> dict:
    """A table for each kind, for blocks that follow one another from `starts` on."""
    kinds = [[of_kinds(shapes(path)) for path in layer] for layer in branches]
    return {kind: _table([[size_of(own[kind]) for own in layer] for layer in kinds], starts[kind]) for kind in starts}


def _table(sizes: Sequence[Sequence[int]], start: int) -> Table:
    held = np.array([[*layer, 0] for layer in sizes])
    starts = start + np.cumsum([0, *held.reshape(-1)[:-1]]).reshape(held.shape)
    starts[:, -1] = start
    return Table(starts, held, int(held.max()))


# Rows and vectors ---------------------------------------------------------------------------------------------------


def take(vector: Float[Array, " all"], table: Table, chosen: Int[Array, "layers paths"]) -> Array:
    """[layers, paths, longest]: the chosen blocks' parts of the vector, zeros after them."""
    starts, sizes = _at(table, chosen)
    rows: Any = _take(vector, starts, sizes, table.longest)
    return rows.reshape(*chosen.shape, table.longest)


def put(vector: Float[Array, " all"], table: Table, chosen: Int[Array, "layers paths"], rows: Array) -> Array:
    """The vector with the chosen blocks' parts replaced."""
    return _written(vector, *_at(table, chosen), rows, add=False)


def _at(table: Table, chosen: Array) -> tuple[Array, Array]:
    """Starts and sizes, one after another."""
    layers = np.arange(len(table.starts))[:, None]
    starts, sizes = jnp.asarray(table.starts, jnp.int32), jnp.asarray(table.sizes, jnp.int32)
    return starts[layers, chosen].reshape(-1), sizes[layers, chosen].reshape(-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _take(vector: Array, starts: Array, sizes: Array, longest: int) -> Float[Array, "chosen longest"]:
    def row(start: Array, size: Array) -> Array:
        return jnp.where(jnp.arange(longest) < size, lax.dynamic_slice(vector, (start,), (longest,)), 0)

    return jnp.stack([row(starts[n], sizes[n]) for n in range(len(starts))])


def _take_forward(vector: Array, starts: Array, sizes: Array, longest: int):
    return _take(vector, starts, sizes, longest), (vector, starts, sizes)


def _take_backward(longest: int, saved: tuple[Array, Array, Array], ct: Array):
    vector, starts, sizes = saved
    return _written(jnp.zeros_like(vector), starts, sizes, ct, add=True), None, None


_take.defvjp(_take_forward, _take_backward)


def _written(vector: Array, starts: Array, sizes: Array, rows: Array, add: bool) -> Array:
    """Row after row, each as long as its block. Written out: a loop would copy the vector, to be able to change it."""
    rows = rows.reshape(len(starts), -1)
    longest = rows.shape[1]
    for n, row in enumerate(rows):
        before = lax.dynamic_slice(vector, (starts[n],), (longest,))
        new = jnp.where(jnp.arange(longest) < sizes[n], row + before if add else row, before)
        vector = lax.dynamic_update_slice(vector, new, (starts[n],))
    return vector


def join(parts: Sequence[Array]) -> Float[Array, " all"]:
    """All parts flat, one after another."""
    if not any(isinstance(part, Tracer) for part in parts):
        # Outside a program each shape that is flattened would be a compile of its own.
        return jnp.asarray(np.concatenate([np.ravel(part) for part in parts]))
    # The barrier keeps XLA from fusing every producer into one giant concatenation.
    return jnp.concatenate([jnp.ravel(part) for part in lax.optimization_barrier(list(parts))])


def split(vector: Float[Array, " all"], shapes: tuple[tuple[int, ...], ...]) -> list[Array]:
    """The inverse of `join`."""
    return _split(vector, shapes) if shapes else []


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _split(vector: Array, shapes: tuple[tuple[int, ...], ...]) -> list[Array]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    starts = [0, *ends[:-1]]
    return [vector[a:b].reshape(shape) for a, b, shape in zip(starts, ends, shapes, strict=True)]


def _split_forward(vector: Array, shapes: tuple[tuple[int, ...], ...]):
    return _split(vector, shapes), None


def _split_backward(shapes: tuple[tuple[int, ...], ...], _, cotangents: list[Array]):
    # The transpose of many slices would be a sum of as many padded vectors.
    return (join(cotangents),)


_split.defvjp(_split_forward, _split_backward)


# Leaves -------------------------------------------------------------------------------------------------------------


class Own(NamedTuple):
    """Parameters and running statistics of one block, by path, in the order in which it asks for them."""

    weights: dict[str, Array]
    statistics: dict[str, Array]

    def weight(self, path: str, shape: tuple[int, ...], start: float | None = None) -> Array:
        return self.weights[path]

    def statistic(self, path: str, start: float, shape: tuple[int, ...]) -> Array:
        return self.statistics[path]

    def update(self, path: str, value: Array) -> None:
        self.statistics[path] = value

    def under(self, path: str) -> Own:
        return Own(*({name: leaf for name, leaf in leaves.items() if within(name, path)} for leaves in self))

    def blocks(self, branches: Branches) -> Blocks:
        return LeafBlocks(self, branches, self.update)


class Blocks(Protocol):
    """Parameters of the blocks of a run of layers."""

    def shapes(self) -> list[Shapes]:
        """Of each option, in the first layer."""
        ...

    def rows(self, chosen: Int[Array, "layers paths"]) -> Rows:
        """Of the blocks that run."""
        ...

    def ran(self, chosen: Int[Array, "layers paths"], statistics: Float[Array, "layers paths longest"]) -> None:
        """Notes the statistics that they have after."""
        ...


@dataclass(frozen=True, eq=False)
class LeafBlocks:
    """Blocks whose parameters are leaves of their own, with gradients for all of them."""

    own: Own
    branches: Branches
    update: Callable[[str, Array], None]

    def shapes(self) -> list[Shapes]:
        return [self._shapes_of(path) for path in self.branches[0]]

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
        return tables(self.branches, self._shapes_of, dict.fromkeys((MATRICES, VECTORS, STATISTICS), 0))

    def _leaves(self, kind: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        for layer in self.branches:
            for path in layer:
                yield from of_kinds(self._shapes_of(path))[kind].items()

    def _shapes_of(self, path: str) -> Shapes:
        return Shapes(*({name: leaf.shape for name, leaf in leaves.items()} for leaves in self.own.under(path)))

    def _vector(self, kind: str, after: int) -> Array:
        leaves = self.own.statistics if kind == STATISTICS else self.own.weights
        return jnp.concatenate([*(jnp.ravel(leaves[path]) for path, _ in self._leaves(kind)), jnp.zeros(after)])


def within(name: str, path: str) -> bool:
    """Whether a parameter belongs to the block at `path`."""
    return name.startswith(f"{path}.")
