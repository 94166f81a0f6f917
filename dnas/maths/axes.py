"""Lengths and order of axes."""

from __future__ import annotations

import jax.numpy as jnp
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


def shuffled(x: Float[Array, "*batch C"], groups: int) -> Float[Array, "*batch C"]:
    """Channels of the groups interleaved."""
    *lead, c = x.shape
    return x.reshape(*lead, groups, c // groups).swapaxes(-1, -2).reshape(*lead, c)


def one() -> Float[Array, ""]:
    """The weight of an operator that has none."""
    return jnp.ones(())
