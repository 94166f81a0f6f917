"""Rules of the step, from a recipe: clipping, weight decay and the three optimisers.

Parameters are packed (`dnas.nn.packing`) into weights, and what weight decay leaves alone: norms' scales and shifts,
biases, and tables of positions, distances and tokens. Adaptive clipping leaves alone what has one axis.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from dnas.nn.packing import VECTORS, Leaves, Packing
from dnas.train.recipe import Recipe
from dnas.train.schedule import Schedule


def optimizer(recipe: Recipe, rate: Schedule, packing: Packing) -> optax.GradientTransformation:
    """Gradient -> step. Decay joins the gradient for sgd and rmsprop and is apart from it for adamw, as in torch."""
    parts = []
    if recipe.clip_norm:
        parts.append(optax.clip_by_global_norm(recipe.clip_norm))
    if recipe.clip_adaptive:
        parts.append(adaptive_clip(recipe.clip_adaptive, packing))
    return optax.chain(*parts, RULES[recipe.optimizer](recipe, rate))


def decayed(params: Leaves) -> dict[str, bool]:
    """Which leaves weight decay pulls to zero: weights, not norms, biases and tables."""
    return {name: name != VECTORS for name in params}


def _decay(recipe: Recipe) -> optax.GradientTransformation:
    return optax.add_decayed_weights(recipe.weight_decay, mask=decayed)


def _sgd(recipe: Recipe, rate: Schedule) -> optax.GradientTransformation:
    return optax.chain(_decay(recipe), optax.sgd(rate, recipe.momentum or None, recipe.nesterov))


def _rmsprop(recipe: Recipe, rate: Schedule) -> optax.GradientTransformation:
    # The root of the mean square plus epsilon, as in torch; momentum is of the normalised steps.
    scaled = optax.scale_by_rms(recipe.rms_decay, recipe.epsilon, eps_in_sqrt=False)
    momentum = [optax.trace(recipe.momentum)] if recipe.momentum else []
    return optax.chain(_decay(recipe), scaled, *momentum, optax.scale_by_learning_rate(rate))


def _adamw(recipe: Recipe, rate: Schedule) -> optax.GradientTransformation:
    scaled = optax.scale_by_adam(recipe.beta1, recipe.beta2, recipe.epsilon)
    return optax.chain(scaled, _decay(recipe), optax.scale_by_learning_rate(rate))


RULES = {"sgd": _sgd, "rmsprop": _rmsprop, "adamw": _adamw}


def adaptive_clip(limit: float, packing: Packing, least: float = 1e-3) -> optax.GradientTransformation:
    """Scales each output unit's gradient to at most `limit` times its weights' norm (Brock et al. 2021, eq. 3)."""

    def clip(gradient: jax.Array, weights: jax.Array) -> jax.Array:
        if gradient.ndim < 2:
            return gradient
        axes = tuple(range(gradient.ndim - 1))
        own = jnp.sqrt(jnp.sum(jnp.square(weights), axes, keepdims=True))
        norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axes, keepdims=True))
        most = limit * jnp.maximum(own, least)
        return jnp.where(norm > most, gradient * (most / jnp.maximum(norm, 1e-6)), gradient)

    def update(updates, state, params=None):
        assert params is not None
        gradient, weights = (packing.unpack_group("params", leaves) for leaves in (updates, params))
        clipped = {path: clip(gradient[path], weights[path]) for path in gradient}
        return packing.pack({"params": clipped})["params"], state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
