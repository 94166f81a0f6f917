"""Grids: what gates make of resolutions.

A resolution is a grid of pixels interspersed in the largest map (FBNetV2, Wan et al. 2020, section 3.2): option r
with side n lives on the pixels floor(i * H / n) of a map of side H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.space.quantity import Quantity


@runtime_checkable
class Gates(Protocol):
    """By the name of a choice."""

    def __getitem__(self, name: str) -> Float[Array, " options"]: ...


def joint_probability(quantity: Quantity, gates: Gates) -> Array:
    """Probability of each joint option of the quantity's choices, flattened in the order of its table."""
    p = jnp.ones((1,))
    for choice in quantity.over:
        p = (p[:, None] * gates[choice.name]).reshape(-1)
    return p


def grid_index(side: int, full: int) -> np.ndarray:
    """Rows (or columns) of a map of side `full` on which an option of side `side` lives: floor(i * full / side)."""
    return np.arange(side) * full // side


def pixel_index(side: int, full: int, stored: int) -> np.ndarray:
    """[stored * stored]: for each pixel of a map of side `stored`, whose corner holds the option's own map, the pixel
    of the map of side `full` that it is taken from; past the map's end where it is outside the option's.
    """
    return _pixels(np.concatenate([grid_index(side, full), np.full(stored - side, full)]), full, full)


def pixel_source(side: int, full: int, stored: int) -> np.ndarray:
    """[full * full]: the inverse of `pixel_index`, past the map's end for a pixel that is not on the grid."""
    source = np.full(full, side)
    source[grid_index(side, full)] = np.arange(side)
    return _pixels(source, side, stored)


def _pixels(rows: np.ndarray, end: int, stride: int) -> np.ndarray:
    flat = rows[:, None] * stride + rows[None, :]
    return np.where((rows[:, None] < end) & (rows[None, :] < end), flat, stride * stride).reshape(-1).astype(np.int32)


def grid_rows(sides: Sequence[int], full: int) -> np.ndarray:
    """[options, full]: 1 at the rows of each option's grid."""
    rows = np.zeros((len(sides), full), np.float32)
    for n, side in enumerate(sides):
        rows[n, grid_index(side, full)] = 1
    return rows


def coverage(side: Quantity, gates: Gates) -> Float[Array, "H W"]:
    """sum_r g_r [pixel on grid r]: the share of the gates that a pixel belongs to."""
    return _pixel_weights(side, gates, lambda n: 1.0)


def pixel_weights(side: Quantity, gates: Gates) -> Float[Array, "H W"]:
    """Weights of a mean over the map: each grid's own mean, weighted by its gate; they add up to 1."""
    return _pixel_weights(side, gates, lambda n: 1.0 / (n * n))


def _pixel_weights(side: Quantity, gates: Gates, weight) -> Array:
    full, sides = side.max(), side.table.reshape(-1).tolist()
    rows = jnp.asarray(grid_rows(sides, full))
    scaled = joint_probability(side, gates) * jnp.asarray([weight(n) for n in sides], jnp.float32)
    return jnp.einsum("r,rh,rw->hw", scaled, rows, rows)
