"""Lengths and order of axes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Map = Float[Array, "N H W C"]
OtherMap = Float[Array, "N _ _ _"]
"""Of the same images, with sides and channels of its own."""


def resized(x: Float[Array, "*batch C"], width: int) -> Float[Array, "*batch D"]:
    """x with its channels padded with zeros, or cut, to `width`."""
    missing = width - x.shape[-1]
    if missing > 0:
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x[..., :width]


def along(mask: Float[Array, " n"], after: int) -> Array:
    """A mask over an axis that has so many after it."""
    return mask.reshape(-1, *(1,) * after)


def taken(x: Array, entries: Sequence[int], axis: int) -> Array:
    """The entries of an axis, in their order; each at most once."""
    return _taken(x, tuple(entries), axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _taken(x: Array, entries: tuple[int, ...], axis: int) -> Array:
    return x[(slice(None),) * axis + (np.array(entries, int),)]


def _taken_forward(x: Array, entries: tuple[int, ...], axis: int) -> tuple[Array, tuple[int, ...]]:
    return _taken(x, entries, axis), x.shape


def _taken_backward(entries: tuple[int, ...], axis: int, shape: tuple[int, ...], dy: Array) -> tuple[Array]:
    """Each entry comes from the one it went to, or is the zero after them: the gradient of an index would be a serial
    scatter on CPU."""
    source = np.full(shape[axis], len(entries))
    source[list(entries)] = np.arange(len(entries))
    ends = [(0, int(n == axis)) for n in range(len(shape))]
    return (jnp.pad(dy, ends)[(slice(None),) * axis + (source,)],)


_taken.defvjp(_taken_forward, _taken_backward)


def shuffled(x: Float[Array, "*batch C"], groups: int) -> Float[Array, "*batch C"]:
    """Channels of the groups interleaved."""
    *lead, c = x.shape
    return x.reshape(*lead, groups, c // groups).swapaxes(-1, -2).reshape(*lead, c)


def one(kind: Any) -> Float[Array, ""]:
    """The weight of an operator that has none, in numbers of the kind of its input's."""
    return jnp.ones((), kind)
