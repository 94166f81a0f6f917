"""DMaskingNAS: weights and theta learn in turn on their own shares of the training data (FBNet V1, V2).

Weights step: cross-entropy under gates drawn from theta. Theta step: `dnas.search.objective` under gates drawn anew.
Two programs, each traced once; everything that changes between steps is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dnas.data.preprocess import prepare
from dnas.nn.forward import NORM_MOMENTUM
from dnas.nn.gates import (
    Gates,
    Theta,
    entropy,
    gumbel_softmax,
    init_theta,
    keep_largest,
    probabilities,
    straight_through,
)
from dnas.nn.packing import MATRICES, Packing
from dnas.nn.supernet import Supernet, init
from dnas.search import objective
from dnas.search.objective import Multipliers
from dnas.search.problem import Problem

Metrics = dict[str, Array]
Batch = tuple[Array, Array]
"""Images uint8 [B, S, S, C] and labels int32 [B]."""


class SearchState(NamedTuple):
    """Everything a search must remember; a pytree."""

    variables: dict[str, dict[str, Array]]
    """Parameters and statistics, packed (`dnas.nn.packing`)."""
    theta: Theta
    multipliers: Multipliers
    weights_opt: optax.OptState
    theta_opt: optax.OptState
    step: Int[Array, ""]
    """Steps on the weights so far."""
    theta_step: Int[Array, ""]


class Strategy(NamedTuple):
    """A pair of pure steps `(state, batch, key) -> (state, metrics)` and the state they begin with."""

    init: Callable[[PRNGKeyArray], SearchState]
    weights_step: Callable[[SearchState, Batch, PRNGKeyArray], tuple[SearchState, Metrics]]
    theta_step: Callable[[SearchState, Batch, PRNGKeyArray], tuple[SearchState, Metrics]]


def dmasking(problem: Problem, steps: int) -> Strategy:
    """The strategy for a run of `steps` steps on the weights."""
    s, layout = problem.settings, problem.layout
    net = Supernet(problem.proxy, paper_resolution=s.paper_resolution, resolution_paths=s.resolution_paths or None)
    weights_tx, theta_tx = _weights_optimizer(problem, steps), _theta_optimizer(problem)
    packing = Packing(problem.proxy)
    limits = jnp.asarray(problem.limits)
    resolutions = [c.name for c in problem.space.resolution.over]
    latency = next((j for j, m in enumerate(problem.measured) if m.budget.kind == "ms"), 0)

    def temperature(state: SearchState) -> Array:
        progress = state.step / max(1, steps)
        return s.temperature * (s.temperature_end / s.temperature) ** progress

    def draw(theta: Theta, key: PRNGKeyArray, state: SearchState) -> Gates:
        gates = gumbel_softmax(layout, theta, key, temperature(state), noise=s.noise)
        if s.gates == "straight_through":
            gates = straight_through(gates)
        return gates if not s.resolution_paths else keep_largest(gates, resolutions, s.resolution_paths)

    def cross_entropy(packed, gates: Gates, batch: Batch) -> tuple[Array, tuple[dict[str, Array], Array]]:
        images, labels = batch
        (logits, _), updated = net.apply(
            packing.unpack(packed),
            prepare(images, problem.preprocessing),
            gates,
            momentum=NORM_MOMENTUM,
            mutable=["batch_stats"],
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, (packing.pack(updated)["batch_stats"], jnp.mean(jnp.argmax(logits, -1) == labels))

    def start(key: PRNGKeyArray) -> SearchState:
        variables, theta = packing.pack(init(problem.proxy, key)), init_theta(layout)
        multipliers = Multipliers(jnp.zeros(len(problem.measured)), jnp.zeros(()))
        return SearchState(
            variables, theta, multipliers, weights_tx.init(variables["params"]), theta_tx.init(theta),
            jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32),
        )  # fmt: skip

    def weights_step(state: SearchState, batch: Batch, key: PRNGKeyArray) -> tuple[SearchState, Metrics]:
        gates = draw(state.theta, jax.random.fold_in(key, 2 * state.step), state)

        def loss_of(params):
            return cross_entropy({**state.variables, "params": params}, gates, batch)

        (loss, (stats, accuracy)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.variables["params"])
        updates, weights_opt = weights_tx.update(grads, state.weights_opt, state.variables["params"])
        variables = {"params": optax.apply_updates(state.variables["params"], updates), "batch_stats": stats}
        state = state._replace(variables=variables, weights_opt=weights_opt, step=state.step + 1)
        return state, {"loss": loss, "accuracy": accuracy, "temperature": temperature(state)}

    def theta_loss(theta: Theta, state: SearchState, batch: Batch, key: PRNGKeyArray):
        gates = draw(theta, key, state)
        loss, (_, accuracy) = cross_entropy(state.variables, gates, batch)
        total, expected, u = loss, jnp.zeros(0), jnp.zeros(0)
        if problem.measured:
            drawn = objective.scaled(problem.expected(gates)[latency], problem.measured[latency].smallest)
            total = objective.combine(loss, drawn, s.loss_form, s.alpha, s.beta)
            expected = problem.expected(probabilities(layout, theta))
            u = objective.violations(expected, limits)
            total = total + objective.budget_term(u, state.multipliers, s.penalty, s.fill > 0)
        spread = entropy(layout, theta)
        progress = jnp.clip((state.step / max(1, steps) - s.warm_up) / (1 - s.warm_up), 0, 1)
        total = total + s.decide * progress**2 * jnp.sum(spread)
        return total, (loss, accuracy, expected, u, jnp.mean(spread))

    def theta_step(state: SearchState, batch: Batch, key: PRNGKeyArray) -> tuple[SearchState, Metrics]:
        draw_key = jax.random.fold_in(key, 2 * state.theta_step + 1)
        grad = jax.grad(theta_loss, has_aux=True)
        grads, (loss, accuracy, expected, u, spread) = grad(state.theta, state, batch, draw_key)
        updates, theta_opt = theta_tx.update(grads, state.theta_opt, state.theta)
        multipliers = state.multipliers
        if problem.measured:
            multipliers = objective.ascend(u, multipliers, s.multiplier_lr, s.fill > 0)
        state = state._replace(
            theta=optax.apply_updates(state.theta, updates), theta_opt=theta_opt, multipliers=multipliers,
            theta_step=state.theta_step + 1,
        )  # fmt: skip
        metrics = {"theta_loss": loss, "theta_accuracy": accuracy, "entropy": spread, "expected": expected}
        return state, metrics | {"multipliers": multipliers.down, "push_up": multipliers.up}

    return Strategy(start, weights_step, theta_step)


def largest_probability(problem: Problem, theta: Theta) -> Float[Array, " choices"]:
    """Each choice's largest probability: 1 when it is decided."""
    return jnp.max(probabilities(problem.layout, theta).values, axis=-1)


def _weights_optimizer(problem: Problem, steps: int) -> optax.GradientTransformation:
    s = problem.settings
    warm = max(1, min(steps // 20, 200))
    schedule = optax.warmup_cosine_decay_schedule(s.weights_lr / warm, s.weights_lr, warm, max(steps, warm + 1))

    def decayed(params: dict[str, Array]) -> dict[str, bool]:
        # Norms and biases, which are the vectors, are not pulled to zero.
        return {name: name == MATRICES for name in params}

    return optax.chain(
        optax.add_decayed_weights(s.weight_decay, mask=decayed),
        optax.clip_by_global_norm(s.clip),
        optax.sgd(schedule, s.weights_momentum),
    )


def _theta_optimizer(problem: Problem) -> optax.GradientTransformation:
    s = problem.settings
    decay = [optax.add_decayed_weights(s.theta_decay)] if s.theta_decay else []
    return optax.chain(*decay, optax.adam(s.theta_lr, b1=0.5, b2=0.99))
