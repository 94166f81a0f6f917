"""Activations and mixtures of them, whose gradients keep their input alone."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.nn import loops


def _gelu(x: Float[Array, "*batch C"]) -> Array:
    """x Phi(x). The compiler has one rational function for erf; for erfc, which jax.nn.gelu calls, it computes several
    and keeps the parts of each in memory."""
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


_PLAIN: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hswish": jax.nn.hard_swish,
    "swish": jax.nn.swish,
    "gelu": _gelu,
    "hsigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
}


LINES: dict[str, tuple[float, float, float, float]] = {
    "none": (0, 1, 1e30, 1), "relu": (1, 0, 0, math.inf), "relu6": (1, 0, 0, 6), "hswish": (0, 1 / 6, 3, 6),
    "hsigmoid": (1 / 6, 0, 3, 6),
}  # fmt: skip
"""act(x) = (a + b x) clamp(x + c, 0, d), for a loop that has no other functions (`dnas.nn.map_sums`)."""


@functools.partial(jax.jit, static_argnums=(0, 3))
def mixed(
    names: tuple[str, ...], x: Float[Array, "*batch C"], gates: Float[Array, " options"], kernels: bool = False
) -> Array:
    """sum_i g_i act_i(x). With `kernels` the gradient is a loop's (`dnas.nn.loops`) where it has all the functions."""
    return _mixed(names, x, gates, kernels and set(names) <= set(LINES))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _mixed(names: tuple[str, ...], x: Array, gates: Array, looped: bool) -> Array:
    return functools.reduce(operator.add, [gate * _PLAIN[n](x) for n, gate in zip(names, gates, strict=True)])


def _forward(names: tuple[str, ...], x: Array, gates: Array, looped: bool):
    return _mixed(names, x, gates, looped), (x, gates)


def _backward(names: tuple[str, ...], looped: bool, saved: tuple[Array, Array], ct: Array):
    """Everything again from x: differentiated by itself, the sum would keep a map or two of each option."""
    x, gates = _anew(saved[0], ct), saved[1]
    if looped:
        table = np.array([LINES[name] for name in names], np.float32)
        shapes = [x.shape, (x.shape[0], len(names)), (len(names),)]
        d_x, _, d_gates = loops.call("mixture_gradient", shapes, ct, x, table, gates, macs=5 * len(names) * x.size)
        return d_x, d_gates
    slopes, of_gates = [], []
    for name, gate in zip(names, gates, strict=True):
        value, pull = jax.vjp(_PLAIN[name], x)
        slopes.append(gate * pull(ct)[0])
        of_gates.append(jnp.sum(ct * value))
    return functools.reduce(operator.add, slopes), jnp.stack(of_gates)


_mixed.defvjp(_forward, _backward)


def _anew(x: Array, ct: Array) -> Array:
    """Always x, which the compiler cannot know: it would find act_i(x) in the forward pass and keep them from there."""
    return jnp.where(ct.ravel()[0] > jnp.inf, 0, x)


def _keeping_input(act: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The same function; differentiated as it is, an exponential and an error function keep two maps more."""
    lean = jax.custom_vjp(act)
    lean.defvjp(lambda x: (act(x), x), lambda x, ct: jax.vjp(act, _anew(x, ct))[1](ct))
    return lean


ACTIVATIONS = _PLAIN | {name: _keeping_input(_PLAIN[name]) for name in ("swish", "gelu")}
