"""The programs of theta: gates drawn from it, a step of it, and its projection onto the budgets.

Each is a few operations on one matrix; the supernet is not in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.learning.course import Metrics
from dnas.nn.gates import (
    Gates,
    Theta,
    entropy,
    gumbel_softmax,
    harden,
    probabilities,
    straight_through,
)
from dnas.search import objective
from dnas.search.allowed import allowing
from dnas.search.collapse import Temperature, floored
from dnas.search.learn import kept
from dnas.search.problem import Problem
from dnas.search.projection import Projected, project
from dnas.search.shortlist import LIKE

TRIES = 16
"""Networks drawn for a step of the weights under one of them."""
NETWORK = 1
"""What random numbers are drawn for: folded into the key of a step."""
TIED = 1
"""Likewise, of a draw: for the choices that constraints tie."""
LEAST_PROBABILITY = 0.05
"""By which a natural gradient is divided at least: an option that is rarely drawn is not moved far by one draw."""


def drawing(problem: Problem) -> Callable:
    """`(logits, key, number, temperature, hard, limits) -> (gates, temperature)`.

    Where `hard`, one-hot: the network that the weights learn under is one that could be found. Of `TRIES` networks that
    the space's constraints allow the first is taken that keeps the limits and uses `LIKE` of one; else that which uses
    most, or exceeds them least.
    """
    s, layout, soft, among = problem.settings, problem.layout, drawing_soft(problem), allowing(problem)

    def network(logits: Theta, key: PRNGKeyArray, limits: Array) -> Array:
        allowed = among(logits)

        def one(key: PRNGKeyArray) -> Array:
            drawn = harden(gumbel_softmax(layout, logits, key, 1.0, noise=s.noise))
            return allowed(drawn.values, jax.random.fold_in(key, TIED))

        if not problem.measured:
            return one(key)
        drawn = jax.vmap(one)(jax.random.split(key, TRIES))
        spent = jax.vmap(lambda values: problem.expected(Gates(values, layout)))(drawn)
        used = jnp.max(spent / limits, axis=1)
        return drawn[jnp.argmax(jnp.where(used <= 1, jnp.minimum(used, LIKE), -used))]

    def draw(
        logits: Theta, key: PRNGKeyArray, number: Array, heat: Temperature, hard: Array, limits: Array
    ) -> tuple[Gates, Array]:
        gates, temperature = soft(logits, key, number, heat)
        own = jax.random.fold_in(jax.random.fold_in(key, number), NETWORK)
        values = jax.lax.cond(hard, lambda: network(logits, own, limits), lambda: gates.values)
        return Gates(values, layout), temperature

    return draw


def drawing_soft(problem: Problem) -> Callable:
    """`(logits, key, number, temperature) -> (gates, temperature)`, of what a step evaluates."""
    s, layout = problem.settings, problem.layout

    def draw(logits: Theta, key: PRNGKeyArray, number: Array, heat: Temperature) -> tuple[Gates, Array]:
        temperature, _ = floored(layout, logits, heat, s)
        gates = gumbel_softmax(layout, logits, jax.random.fold_in(key, number), temperature, noise=s.noise)
        if s.gates == "straight_through":
            gates = straight_through(gates)
        return kept(problem, gates), temperature

    return draw


def learning_theta(problem: Problem) -> Callable:
    """`(theta, optimizer, logits, loss, gradient, key, number, temperature) -> (theta, optimizer, metrics)`.

    `loss` and `gradient`, d loss / d gates, are the supernet's under the gates drawn with the same key: loss +
    <gradient, gates - drawn> has the same value and the same gradient there. A change of theta moves the projected
    `logits` by as much.
    """
    s, layout, rule, draw = problem.settings, problem.layout, optimizer(problem), drawing_soft(problem)
    latency = next((j for j, m in enumerate(problem.measured) if m.budget.kind == "ms"), 0)

    def total(logits: Theta, loss, gradient, key, number, temperature) -> Array:
        gates, _ = draw(logits, key, number, temperature)
        cross_entropy = loss + jnp.sum(gradient * (gates.values - jax.lax.stop_gradient(gates.values)))
        if not problem.measured:
            return cross_entropy
        drawn = objective.scaled(problem.expected(gates)[latency], problem.measured[latency].smallest)
        # Where the mean cost is held at the budget, the projection says what cost is worth.
        drawn = jax.lax.stop_gradient(drawn) if s.aim > 0 else drawn
        return objective.combine(cross_entropy, drawn, s.loss_form, s.alpha, s.beta)

    def update_theta(theta: Theta, state: optax.OptState, logits: Theta, loss, gradient, key, number, temperature):
        step = jax.grad(total)(logits, loss, gradient, key, number, temperature)
        if s.theta_rule == "natural":
            step = natural(step, probabilities(layout, logits))
        updates, state = rule.update(step, state, theta)
        metrics = {
            "entropy": jnp.mean(entropy(layout, logits)),
            "temperature_floor": floored(layout, logits, temperature, s)[1],
        }
        return optax.apply_updates(theta, updates), state, metrics

    return update_theta


def projecting(problem: Problem) -> Callable:
    """`(theta, projected, limits) -> (projected, metrics)`: budgets and, the last constraint, the skip guard."""
    s, layout, skips = problem.settings, problem.layout, skip_options(problem)
    equal = np.array([s.aim > 0] * len(problem.measured) + [False])

    def update(theta: Theta, last: Projected, limits: Array) -> tuple[Projected, Metrics]:
        def constraints(q: Gates) -> Array:
            skipped = jnp.sum(q.values * skips)[None] - s.skip_limit
            return jnp.concatenate([objective.violations(problem.expected(q), limits), skipped])

        projected = project(layout, theta, last, constraints, equal)
        q = probabilities(layout, projected.logits)
        return projected, {
            "expected": problem.expected(q), "skip_share": jnp.sum(q.values * skips),
            "multipliers": projected.multipliers[:-1], "skip_guard": projected.multipliers[-1],
        }  # fmt: skip

    return update


def skip_options(problem: Problem) -> Float[np.ndarray, "choices options"]:
    """Weights with which probabilities add up to the share of blocks skipped, where skipping is an option."""
    layout = problem.layout
    weights = np.zeros(layout.shape, np.float32)
    for row, choice in enumerate(layout.choices):
        if "skip" in choice.options:
            weights[row, choice.options.index("skip")] = 1
    return weights / max(1.0, weights.sum())


# How theta moves ------------------------------------------------------------------------------------------------------


def natural(gradient: Theta, p: Gates) -> Theta:
    """The gradient by logits divided by the options' probabilities.

    That is the gradient by the softmax's natural parameters up to a constant a choice (Amari 1998; for a softmax,
    mirror descent with the entropy): d loss / d theta_i = p_i (G_i - mean G), of which the factor p_i would let an
    option that is rare learn slowly, whatever the data say of it.
    """
    return jnp.where(jnp.asarray(p.layout.real), gradient / jnp.maximum(p.values, LEAST_PROBABILITY), 0)


def optimizer(problem: Problem) -> optax.GradientTransformation:
    """Adam, as published, or steps in proportion to evidence."""
    s = problem.settings
    decay = [optax.add_decayed_weights(s.theta_decay)] if s.theta_decay else []
    rule = optax.adam(s.theta_lr, b1=0.5, b2=0.99) if s.theta_rule == "adam" else in_proportion(s.theta_lr)
    return optax.chain(*decay, rule)


class Scale(NamedTuple):
    """The mean square of the gradients so far, and their number."""

    square: Array
    count: Array


def in_proportion(rate: float, memory: float = 0.99) -> optax.GradientTransformation:
    """Gradients over their root mean square, one number for all: each entry moves in proportion to its evidence.

    Adam has one such number for each entry, so that an option which hardly changes the loss is decided as fast as one
    that matters.
    """

    def init(params: optax.Params) -> optax.OptState:
        return Scale(jnp.zeros(()), jnp.zeros(()))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        assert isinstance(state, Scale)
        gradient, count = jnp.asarray(updates), state.count + 1
        square = memory * state.square + (1 - memory) * jnp.mean(jnp.square(gradient))
        size = jnp.sqrt(square / (1 - memory**count)) + 1e-12
        return -rate * gradient / size, Scale(square, count)

    return optax.GradientTransformation(init, update)
