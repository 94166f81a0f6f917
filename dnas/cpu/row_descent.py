"""Gradient descent with momentum on the blocks that a step ran, by loops of this process on CPU.

A row is as long as its layer's largest block, two and a half times what an even draw uses of `fbnetv1`'s, and XLA goes
through all of it, copies it out of its vector and back. These loops change the vector where it is, as far as the block
goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from dnas.cpu import loops
from dnas.nn.rows import Table


def squared(
    vector: Float[Array, " all"], table: Table, chosen: Int[Array, "layers paths"],
    gradient: Float[Array, "layers paths longest"], decay: float,
) -> Float[Array, ""]:  # fmt: skip
    """The sum of squares of gradient + decay * parameter over the blocks that ran."""
    operands = vector, gradient, *_places(table), chosen, np.float32(decay)
    return loops.call("row_squares", [(loops.PARTS,), ()], *operands, macs=2 * gradient.size)[1]


def descended(
    vector: Float[Array, " all"], momentum: Float[Array, " all"], table: Table, chosen: Int[Array, "layers paths"],
    gradient: Float[Array, "layers paths longest"], coefficients: Sequence[ArrayLike],
) -> tuple[Array, Array]:  # fmt: skip
    """Vector and momentum after a step; where both are given up for it, in their own memory.

    `coefficients` b, f, d, r: momentum = b * momentum + f * (gradient + d * parameter), parameter -= r * momentum.
    """
    numbers = jnp.stack([jnp.asarray(c, jnp.float32) for c in coefficients])
    operands = vector, momentum, gradient, *_places(table), chosen, numbers
    shapes = [(loops.PARTS,), vector.shape, momentum.shape]
    _, vector, momentum = loops.call("row_descent", shapes, *operands, macs=4 * gradient.size, aliases={0: 1, 1: 2})
    return vector, momentum


def _places(table: Table) -> tuple[np.ndarray, np.ndarray]:
    return table.starts.astype(np.int32), table.sizes.astype(np.int32)
