"""Parameters of the blocks that a step runs, taken from vectors that hold those of all blocks.

Where a few blocks of many are run (`dnas.nn.branches`), most parameters take no part in a step. Those of such blocks
lie behind one another in vectors of their own; a step takes a row for each block that it runs, and gradients, changed
statistics and the optimiser's work are of rows alone. What is not run is neither read nor written.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int

Leaves = Mapping[str, tuple[int, ...]]
"""Shapes by path."""
MATRICES, VECTORS, STATISTICS = "matrices", "vectors", "statistics"


class Shapes(NamedTuple):
    """Of a block's parameters, in the order in which it has them."""

    matrices: dict[str, tuple[int, ...]]
    """What weight decay pulls to zero (`Parameter.decays`)."""
    vectors: dict[str, tuple[int, ...]]
    """What it does not."""
    statistics: dict[str, tuple[int, ...]]


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
    ordered = dict(sorted(shapes.matrices.items(), key=lambda item: _is_spatial(item[1])))
    return {MATRICES: ordered, VECTORS: shapes.vectors, STATISTICS: shapes.statistics}


def _is_spatial(shape: tuple[int, ...]) -> bool:
    """Depthwise kernels [k, k, C] and full ones [k, k, I, O] of more than a pixel."""
    return len(shape) == 3 or (len(shape) == 4 and shape[0] > 1)


def size_of(leaves: Leaves) -> int:
    """How many numbers there are."""
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


def tables(blocks: Sequence[Sequence[Shapes]], starts: Mapping[str, int]) -> dict[str, Table]:
    """A table for each kind, for each layer's blocks, which follow one another from `starts` on."""
    kinds = [[of_kinds(shapes) for shapes in layer] for layer in blocks]
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
