"""Masks: what gates make of widths and resolutions.

A width is a mask over the widest: M = sum_i g_i 1_i, the first `i` entries of 1_i being 1 (FBNetV2, Wan et al. 2020,
section 3.1). A resolution is a grid of pixels interspersed in the largest map (section 3.2): option r with side n
lives on the pixels floor(i * H / n) of a map of side H.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.space.quantity import Gates, Quantity


def joint_probability(quantity: Quantity, gates: Gates) -> Array:
    """Probability of each joint option of the quantity's choices, flattened in the order of its table."""
    p = jnp.ones((1,))
    for choice in quantity.over:
        p = (p[:, None] * gates[choice.name]).reshape(-1)
    return p


def mean(quantity: Quantity, gates: Gates) -> Array | float:
    """Mean of a numeric quantity under the gates (a Python number where it is constant)."""
    return quantity.mean(gates)


def channel_mask(width: Quantity, gates: Gates, size: int) -> Float[Array, "channels"]:
    """M[c] = probability that channel c is below the width. One-hot gates give exactly 0 and 1."""
    sizes = np.asarray(width.table, np.int32).reshape(-1)
    kept = jnp.asarray(sizes)[:, None] > jnp.arange(size)
    return jnp.sum(joint_probability(width, gates)[:, None] * kept, axis=0)


def grid_index(side: int, full: int) -> np.ndarray:
    """Rows (or columns) of a map of side `full` on which an option of side `side` lives: floor(i * full / side)."""
    return np.arange(side) * full // side


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
