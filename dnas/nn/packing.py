"""Variables as a few long vectors: one of all that has several axes, one of all short vectors, for each group.

A network has hundreds of parameters. An optimiser that visits each with kernels of its own spends a third of the
compile time on them; packed, they are two leaves, and what treats matrices and vectors apart (weight decay) still can.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from dnas.nn.supernet import Variables, abstract_variables
from dnas.space.space import Space

MATRICES, VECTORS = "matrices", "vectors"
Leaves = dict[str, Array]
Shapes = tuple[tuple[int, ...], ...]


class Packing:
    """The static plan: which paths share a vector, in which order."""

    def __init__(self, space: Space):
        self.parts: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
        for group, leaves in abstract_variables(space).items():
            shapes = {path: leaf.shape for path, leaf in leaves.items()}
            self.parts[group] = {
                MATRICES: {path: shape for path, shape in shapes.items() if len(shape) > 1},
                VECTORS: {path: shape for path, shape in shapes.items() if len(shape) <= 1},
            }

    def pack(self, variables: Mapping[str, Any]) -> dict[str, Leaves]:
        """`{group: {path: array}}` as `{group: {"matrices": [n], "vectors": [m]}}`, without those that are empty."""
        return {
            group: {name: _join([leaves[path] for path in shapes]) for name, shapes in self._filled(group)}
            for group, leaves in variables.items()
        }

    def unpack(self, packed: Mapping[str, Leaves]) -> Variables:
        """The inverse of `pack`; differentiable."""
        return {group: self.unpack_group(group, leaves) for group, leaves in packed.items()}

    def unpack_group(self, group: str, leaves: Leaves) -> Leaves:
        unpacked: Leaves = {}
        for name, shapes in self._filled(group):
            unpacked |= zip(shapes, _split(leaves[name], tuple(shapes.values())), strict=True)
        return unpacked

    def _filled(self, group: str):
        return [(name, shapes) for name, shapes in self.parts[group].items() if shapes]


def _join(parts: list[Array]) -> Array:
    if not any(isinstance(part, Tracer) for part in parts):
        # Outside a program each shape that is flattened would be a compile of its own.
        return jnp.asarray(np.concatenate([np.ravel(part) for part in parts]))
    # The barrier keeps XLA from fusing every producer into one giant concatenation.
    return jnp.concatenate([jnp.ravel(part) for part in jax.lax.optimization_barrier(parts)])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _split(vector: Array, shapes: Shapes) -> list[Array]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    starts = [0, *ends[:-1]]
    return [vector[a:b].reshape(shape) for a, b, shape in zip(starts, ends, shapes, strict=True)]


def _split_forward(vector: Array, shapes: Shapes):
    return _split(vector, shapes), None


def _split_backward(shapes: Shapes, _, cotangents: list[Array]):
    # The transpose of many slices would be a sum of as many padded vectors.
    return (_join(cotangents),)


_split.defvjp(_split_forward, _split_backward)
