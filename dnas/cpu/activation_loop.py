"""Mixtures of activations whose gradient is one loop for CPU."""

from __future__ import annotations

import functools
import math

import jax
import numpy as np
from jaxtyping import Array, Float

from dnas.cpu import loops
from dnas.maths.activation import anew, mixture

LINES: dict[str, tuple[float, float, float, float]] = {
    "none": (0, 1, 1e30, 1), "relu": (1, 0, 0, math.inf), "relu6": (1, 0, 0, 6), "hswish": (0, 1 / 6, 3, 6),
    "hsigmoid": (1 / 6, 0, 3, 6),
}  # fmt: skip
"""act(x) = (a + b x) clamp(x + c, 0, d), for a loop that has no other functions (`dnas.cpu.map_sums`)."""


@functools.partial(jax.jit, static_argnums=0)
def mixed(names: tuple[str, ...], x: Float[Array, "*batch C"], gates: Float[Array, " options"]) -> Array:
    """sum_i g_i act_i(x), for functions that `LINES` has."""
    return _mixed(names, x, gates)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mixed(names: tuple[str, ...], x: Array, gates: Array) -> Array:
    return mixture(names, x, gates)


def _forward(names: tuple[str, ...], x: Array, gates: Array):
    return _mixed(names, x, gates), (x, gates)


def _backward(names: tuple[str, ...], saved: tuple[Array, Array], ct: Array):
    x, gates = anew(saved[0], ct), saved[1]
    table = np.array([LINES[name] for name in names], np.float32)
    shapes = [x.shape, (x.shape[0], len(names)), (len(names),)]
    d_x, _, d_gates = loops.call("mixture_gradient", shapes, ct, x, table, gates, macs=5 * len(names) * x.size)
    return d_x, d_gates


_mixed.defvjp(_forward, _backward)
