"""Activations and mixtures of them, whose gradients keep their input alone."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _gelu(x: Float[Array, "*batch C"]) -> Array:
    """x Phi(x). The compiler has one rational function for erf; for erfc, which jax.nn.gelu calls, it computes several
    and keeps the parts of each in memory."""
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


PLAIN: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hswish": jax.nn.hard_swish,
    "swish": jax.nn.swish,
    "gelu": _gelu,
    "hsigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
}


def mixed(
    names: tuple[str, ...], x: Float[Array, "*batch C"], gates: Sequence[Array] | Float[Array, " options"]
) -> Float[Array, "*batch C"]:
    """sum_i g_i act_i(x)"""
    return _mixed(names, x, jnp.stack(gates))


@functools.partial(jax.jit, static_argnums=0)
def _mixed(names: tuple[str, ...], x: Array, gates: Float[Array, " options"]) -> Array:
    return _mixture(names, x, gates)


def mixture(names: tuple[str, ...], x: Array, gates: Float[Array, " options"]) -> Array:
    """sum_i g_i act_i(x), to be differentiated as it is."""
    return functools.reduce(operator.add, [gate * PLAIN[n](x) for n, gate in zip(names, gates, strict=True)])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mixture(names: tuple[str, ...], x: Array, gates: Array) -> Array:
    return mixture(names, x, gates)


def _forward(names: tuple[str, ...], x: Array, gates: Array):
    return _mixture(names, x, gates), (x, gates)


def _backward(names: tuple[str, ...], saved: tuple[Array, Array], ct: Array):
    """Everything again from x: differentiated by itself, the sum would keep a map or two of each option."""
    x, gates = anew(saved[0], ct), saved[1]
    slopes, of_gates = [], []
    for name, gate in zip(names, gates, strict=True):
        value, pull = jax.vjp(PLAIN[name], x)
        slopes.append(gate * pull(ct)[0])
        of_gates.append(jnp.sum(ct * value))
    return functools.reduce(operator.add, slopes), jnp.stack(of_gates)


_mixture.defvjp(_forward, _backward)


def anew(x: Array, ct: Array) -> Array:
    """Always x, which the compiler cannot know: it would find act_i(x) in the forward pass and keep them from there."""
    return jnp.where(ct.ravel()[0] > jnp.inf, 0, x)


def _keeping_input(act: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The same function; differentiated as it is, an exponential and an error function keep two maps more."""
    lean = jax.custom_vjp(act)
    lean.defvjp(lambda x: (act(x), x), lambda x, ct: jax.vjp(act, anew(x, ct))[1](ct))
    return lean


ACTIVATIONS = PLAIN | {name: _keeping_input(PLAIN[name]) for name in ("swish", "gelu")}
