"""Variables with their many short vectors in one.

A network has hundreds of vectors of a few numbers (scales, shifts, biases, running statistics). An optimiser that
visits each with kernels of its own spends most of the compile time on them; packed, they are one leaf.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.nn.supernet import Variables, abstract_variables
from dnas.space.space import Space

PACKED = "packed"
Leaves = dict[str, Array]


class Packing:
    """The static plan: which paths share the vector, in which order."""

    def __init__(self, space: Space):
        shapes = abstract_variables(space)
        self.sizes = {
            group: {path: leaf.shape[0] for path, leaf in leaves.items() if len(leaf.shape) == 1}
            for group, leaves in shapes.items()
        }

    def pack(self, variables: Mapping[str, Any]) -> dict[str, Leaves]:
        """`{group: {path: array}}` with all vectors of a group under the key `packed`."""
        return {group: _pack(tuple(self.sizes[group]), leaves) for group, leaves in variables.items()}

    def unpack(self, packed: Mapping[str, Leaves]) -> Variables:
        """The inverse of `pack`; differentiable."""
        return {group: self.unpack_group(group, leaves) for group, leaves in packed.items()}

    def unpack_group(self, group: str, leaves: Leaves) -> Leaves:
        rest = {path: leaf for path, leaf in leaves.items() if path != PACKED}
        if PACKED not in leaves:
            return rest
        sizes = self.sizes[group]
        parts: Any = _split(leaves[PACKED], tuple(sizes.values()))
        return rest | {path: parts[n] for n, path in enumerate(sizes)}


def _pack(paths: tuple[str, ...], leaves: Leaves) -> Leaves:
    if not paths:
        return dict(leaves)
    rest = {path: leaf for path, leaf in leaves.items() if path not in set(paths)}
    # The barrier keeps XLA from fusing every producer into one giant concatenation.
    parts = jax.lax.optimization_barrier([leaves[path] for path in paths])
    return rest | {PACKED: jnp.concatenate(parts)}


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _split(vector: Array, sizes: tuple[int, ...]) -> list[Array]:
    ends = np.cumsum(sizes)
    return [vector[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _split_forward(vector: Array, sizes: tuple[int, ...]):
    return _split(vector, sizes), None


def _split_backward(sizes: tuple[int, ...], _, cotangents: list[Array]):
    # The transpose of many slices would be a sum of as many padded vectors.
    return (jnp.concatenate(jax.lax.optimization_barrier(cotangents)),)


_split.defvjp(_split_forward, _split_backward)
