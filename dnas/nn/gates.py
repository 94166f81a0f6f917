"""Gates: one distribution over the options of each choice, drawn from theta, at random, or fixed.

Theta and gates are one matrix, a row a choice, padded to the most options: drawing and normalising are then one
operation for a whole space instead of a hundred small ones. `gates["trunk.2.0.kernel"]` is one choice's row without
its padding. Everything downstream sees only gates, so a search algorithm is a way of making them. A leading group axis
is a `vmap` over gates.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from dnas.nn.pytree import pytree
from dnas.space.quantity import Assignment, Choice

Theta = Float[Array, "choices options"]
"""Logits; entries of the padding are ignored and stay zero."""
Noise = Literal["gumbel", "uniform"]


@dataclass(frozen=True)
class Layout:
    """Which row of the matrix is which choice (static)."""

    choices: tuple[Choice, ...]

    @functools.cached_property
    def rows(self) -> dict[str, int]:
        return {c.name: row for row, c in enumerate(self.choices)}

    @functools.cached_property
    def shape(self) -> tuple[int, int]:
        return len(self.choices), max((len(c) for c in self.choices), default=1)

    @functools.cached_property
    def real(self) -> Bool[np.ndarray, "choices options"]:
        """True where an entry is an option and not padding."""
        return np.arange(self.shape[1]) < np.array([len(c) for c in self.choices], int).reshape(-1, 1)


@pytree("values", static="layout")
@dataclass(frozen=True)
class Gates:
    """Weights of the options: rows add up to 1, padding is 0."""

    values: Float[Array, "choices options"]
    layout: Layout

    def __getitem__(self, name: str) -> Float[Array, " options"]:
        row = self.layout.rows[name]
        return self.values[row, : len(self.layout.choices[row])]


def init_theta(layout: Layout) -> Theta:
    """Zero logits: every option equally probable."""
    return jnp.zeros(layout.shape)


def _softmax(layout: Layout, logits: Array) -> Gates:
    return Gates(jax.nn.softmax(logits, axis=-1, where=layout.real) if layout.choices else logits, layout)


def probabilities(layout: Layout, theta: Theta) -> Gates:
    """softmax(theta), choice by choice."""
    return _softmax(layout, theta)


def gumbel_softmax(
    layout: Layout, theta: Theta, key: PRNGKeyArray, temperature: Float[Array, ""] | float, *, noise: Noise = "gumbel"
) -> Gates:
    """softmax((theta + noise) / temperature) with noise of its own for every choice and option.

    `gumbel` is -log(-log u) (Jang et al. 2017; FBNet, Wu et al. 2019, eq. 8); `uniform` takes u itself, as
    EfficientFormer prints it, which explores less: its support is bounded.
    """
    # u in the open interval: log(-log u) must stay finite at both ends.
    u = jax.random.uniform(key, layout.shape, theta.dtype, minval=jnp.finfo(theta.dtype).tiny, maxval=1.0)
    u = jnp.minimum(u, 1 - jnp.finfo(theta.dtype).epsneg)
    return _softmax(layout, (theta + (u if noise == "uniform" else -jnp.log(-jnp.log(u)))) / temperature)


def harden(gates: Gates) -> Gates:
    """One-hot at each choice's largest entry."""
    best = jnp.argmax(gates.values, axis=-1)
    hard = jax.nn.one_hot(best, gates.values.shape[-1], dtype=gates.values.dtype)
    return Gates(hard, gates.layout)


def straight_through(gates: Gates) -> Gates:
    """One-hot at the largest entry in the forward pass, the soft gates' gradient in the backward pass."""
    soft = gates.values
    # In this order the forward values are 0 and 1 exactly.
    return Gates(harden(gates).values + (soft - jax.lax.stop_gradient(soft)), gates.layout)


def keep_largest(gates: Gates, names: Sequence[str], count: int) -> Gates:
    """Of the named choices, all but the `count` largest entries set to zero and the rest rescaled to add up to 1.

    With two, a choice's gradient still compares options while only two of them need to be computed (the two-path
    sampling of ProxylessNAS, Cai et al. 2019, section 3.2.1). One alone is 1 in the forward pass and keeps the soft
    gate's gradient (straight-through).
    """
    if not names:
        return gates
    # All rows, of which those named are taken: rows picked out and put back are loops on CPU, as are their gradients.
    values = gates.values
    named = np.isin(np.arange(len(values)), [gates.layout.rows[n] for n in names])[:, None]
    _, best = jax.lax.top_k(jax.lax.stop_gradient(values), min(count, values.shape[-1]))
    kept = values * jnp.sum(jax.nn.one_hot(best, values.shape[-1], dtype=values.dtype), axis=1)
    rescaled = kept / jnp.sum(kept, axis=-1, keepdims=True)
    if count == 1:
        rescaled = jax.lax.stop_gradient(rescaled) + (values - jax.lax.stop_gradient(values))
    return Gates(jnp.where(named, rescaled, values), gates.layout)


def uniform(layout: Layout) -> Gates:
    """Equal weights."""
    return probabilities(layout, jnp.zeros(layout.shape))


def one_hot(layout: Layout, assignment: Assignment) -> Gates:
    """The gates of one architecture, given as option indices."""
    values = np.zeros(layout.shape, np.float32)
    for row, choice in enumerate(layout.choices):
        values[row, assignment[choice.name]] = 1
    return Gates(jnp.asarray(values), layout)


def entropy(layout: Layout, theta: Theta) -> Float[Array, " choices"]:
    """Each choice's entropy under softmax(theta) as a share of the uniform distribution's (0 to 1)."""
    p = probabilities(layout, theta).values
    most = np.log(np.array([max(len(c), 2) for c in layout.choices], np.float32))
    return -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0), axis=-1) / most


def as_mapping(gates: Gates) -> Mapping[str, np.ndarray]:
    """Choice name -> its gates in float64, for exact arithmetic outside compiled code."""
    values = np.asarray(gates.values, np.float64)
    return {c.name: values[row, : len(c)] for row, c in enumerate(gates.layout.choices)}
