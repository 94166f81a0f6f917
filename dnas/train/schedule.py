"""Learning rates over the steps of a training, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from dnas.train.recipe import Recipe

Schedule = Callable[[Any], Any]
"""Step (an integer scalar) -> learning rate (a float32 scalar)."""


def schedule(recipe: Recipe, steps: int, steps_per_epoch: int) -> Schedule:
    """Learning rate at a step (from 0) of `steps`: a linear rise over the warm-up, then the recipe's fall.

    cosine: floor + (peak - floor) (1 + cos(pi u)) / 2 with u from 0 at the end of the warm-up to 1 at the end;
    step: peak * rate^(milestones passed); exponential: peak * rate^(epoch / period), epochs counted from the start.
    """
    peak, warm = recipe.peak_lr, min(steps - 1, round(recipe.warmup_epochs * steps_per_epoch))
    fall = FALLS[recipe.schedule](recipe, warm, steps, steps_per_epoch)

    def rate(step: Any) -> Any:
        t = jnp.asarray(step, jnp.float32)
        if not warm:
            return fall(t)
        return jnp.where(t < warm, recipe.warmup_lr + (peak - recipe.warmup_lr) * t / warm, fall(t))

    return rate


def _cosine(recipe: Recipe, warm: int, steps: int, per_epoch: int) -> Schedule:
    peak, floor = recipe.peak_lr, recipe.lr_floor

    def fall(t):
        u = jnp.clip((t - warm) / max(1, steps - warm), 0, 1)
        return floor + (peak - floor) * 0.5 * (1 + jnp.cos(jnp.pi * u))

    return fall


def _step(recipe: Recipe, warm: int, steps: int, per_epoch: int) -> Schedule:
    milestones = jnp.asarray([epoch * per_epoch for epoch in recipe.decay_epochs], jnp.float32)
    return lambda t: recipe.peak_lr * recipe.decay_rate ** jnp.sum(t >= milestones).astype(jnp.float32)


def _exponential(recipe: Recipe, warm: int, steps: int, per_epoch: int) -> Schedule:
    period = recipe.decay_epochs[0] * per_epoch
    return lambda t: recipe.peak_lr * recipe.decay_rate ** (t / period)


def _constant(recipe: Recipe, warm: int, steps: int, per_epoch: int) -> Schedule:
    return lambda t: jnp.full((), recipe.peak_lr)


FALLS = {"cosine": _cosine, "step": _step, "exponential": _exponential, "constant": _constant}
