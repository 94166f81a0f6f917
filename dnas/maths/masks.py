"""Masks over an axis in their plain form. A step computes all masks of a space at once (`dnas.nn.lookup`)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from dnas.maths.grids import Gates, joint_probability
from dnas.space.quantity import Quantity


def channel_mask(size: Quantity, gates: Gates) -> Float[Array, " length"]:
    """M = sum_i g_i 1_i over the options i of a size, 1_i being 1 at the entries that i keeps (Wan et al. 2020, eq. 3);
    g_i is a joint probability where several choices make the size.
    """
    return joint_probability(size, gates) @ jnp.asarray(size.members(), jnp.float32)
