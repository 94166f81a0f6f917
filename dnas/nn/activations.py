"""Activations, and a mixture of them whose gradient keeps its input alone."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hswish": jax.nn.hard_swish,
    "swish": jax.nn.swish,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "hsigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def mixed(names: tuple[str, ...], x: Float[Array, "*batch C"], gates: Float[Array, " options"]) -> Array:
    """sum_i g_i act_i(x)."""
    return functools.reduce(operator.add, [gate * ACTIVATIONS[n](x) for n, gate in zip(names, gates, strict=True)])


def _forward(names: tuple[str, ...], x: Array, gates: Array):
    return mixed(names, x, gates), (x, gates)


def _backward(names: tuple[str, ...], saved: tuple[Array, Array], ct: Array):
    """Everything again from x: differentiated by itself, the sum would keep a map or two of each option."""
    x, gates = saved
    # Always x, which the compiler cannot know: it would find act_i(x) in the forward pass and keep them from there on.
    x = jnp.where(ct.ravel()[0] > jnp.inf, 0, x)
    slopes, of_gates = [], []
    for name, gate in zip(names, gates, strict=True):
        value, pull = jax.vjp(ACTIVATIONS[name], x)
        slopes.append(gate * pull(ct)[0])
        of_gates.append(jnp.sum(ct * value))
    return functools.reduce(operator.add, slopes), jnp.stack(of_gates)


mixed.defvjp(_forward, _backward)
