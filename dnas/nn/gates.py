"""Gates: one distribution over the options of each choice, drawn from theta, at random, or fixed.

A gate is an array [options]; gates are a dict from choice name to array. Everything downstream sees only gates, so a
search algorithm is a way of making them. A leading group axis is a `vmap` over gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.space.quantity import Choice

Theta = Mapping[str, Array]
GateDict = dict[str, Array]
Noise = Literal["gumbel", "uniform"]


def init_theta(choices: Iterable[Choice]) -> dict[str, Array]:
    """Zero logits: every option equally probable."""
    return {c.name: jnp.zeros(len(c)) for c in choices}


def probabilities(theta: Theta) -> GateDict:
    """softmax(theta), choice by choice."""
    return {name: jax.nn.softmax(logits) for name, logits in theta.items()}


def gumbel_softmax(
    theta: Theta, key: PRNGKeyArray, temperature: Float[Array, ""] | float, *, noise: Noise = "gumbel"
) -> GateDict:
    """softmax((theta + noise) / temperature) with noise of its own for every choice and option.

    `gumbel` is -log(-log u) (Jang et al. 2017; FBNet, Wu et al. 2019, eq. 8); `uniform` takes u itself, as
    EfficientFormer prints it, which explores less: its support is bounded.
    """
    return {
        name: jax.nn.softmax((logits + _noise(jax.random.fold_in(key, i), logits, noise)) / temperature)
        for i, (name, logits) in enumerate(theta.items())
    }


def straight_through(gates: GateDict) -> GateDict:
    """One-hot at the largest entry in the forward pass, the soft gates' gradient in the backward pass."""

    def harden(gate: Array) -> Array:
        hard = jax.nn.one_hot(jnp.argmax(gate), gate.shape[-1], dtype=gate.dtype)
        return gate + jax.lax.stop_gradient(hard - gate)

    return {name: harden(gate) for name, gate in gates.items()}


def uniform_one_hot(theta: Theta, key: PRNGKeyArray) -> GateDict:
    """One option a choice, each with equal probability (single-path and sandwich training)."""
    return {
        name: jax.nn.one_hot(jax.random.randint(jax.random.fold_in(key, i), (), 0, logits.shape[-1]), logits.shape[-1])
        for i, (name, logits) in enumerate(theta.items())
    }


def one_hot(choices: Iterable[Choice], assignment: Mapping[str, int]) -> GateDict:
    """The gates of one architecture, given as option indices."""
    return {c.name: jax.nn.one_hot(assignment[c.name], len(c)) for c in choices}


def entropy(theta: Theta) -> Float[Array, ""]:
    """Mean over choices of the entropy of softmax(theta), as a share of the uniform distribution's (0 to 1)."""
    if not theta:
        return jnp.zeros(())
    shares = []
    for logits in theta.values():
        log_p = jax.nn.log_softmax(logits)
        shares.append(-jnp.sum(jnp.exp(log_p) * log_p) / jnp.log(float(logits.shape[-1])))
    return jnp.mean(jnp.stack(shares))


def largest_probability(theta: Theta) -> Float[Array, ""]:
    """Mean over choices of the largest probability: 1 when every choice is decided."""
    if not theta:
        return jnp.ones(())
    return jnp.mean(jnp.stack([jnp.max(jax.nn.softmax(logits)) for logits in theta.values()]))


def exponential_temperature(epoch: Float[Array, ""] | float, start: float = 5.0, rate: float = 0.045):
    """start * exp(-rate * epoch): 5.0 * 0.956^epoch in FBNet V1 and V2."""
    return start * jnp.exp(-rate * epoch)


def _noise(key: PRNGKeyArray, like: Array, noise: Noise) -> Array:
    # u in the open interval: log(-log u) must stay finite at both ends.
    u = jax.random.uniform(key, like.shape, like.dtype, minval=jnp.finfo(like.dtype).tiny, maxval=1.0)
    return u if noise == "uniform" else -jnp.log(-jnp.log(u))
