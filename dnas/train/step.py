"""One step of a training as a pure function `(state, batch, key) -> (state, metrics)`, and the state it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dnas.data.augment import augment
from dnas.data.mix import erase, mix, random_crop
from dnas.data.preprocess import Preprocessing, prepare
from dnas.nn.drops import Drops, places
from dnas.nn.forward import NORM_MOMENTUM
from dnas.nn.gates import Layout, one_hot
from dnas.nn.packing import Leaves, Packing
from dnas.nn.supernet import Supernet, Variables
from dnas.nn.wing import wing
from dnas.space.space import Space
from dnas.train.losses import DISTILLATION, cross_entropy, targets
from dnas.train.optimizer import optimizer
from dnas.train.recipe import Recipe
from dnas.train.schedule import Schedule

Batch = tuple[Any, Any]
"""Images uint8 [B, H, W, C] and labels int32 [B]."""
PackedVariables = dict[str, Leaves]


class Sums(NamedTuple):
    """What an epoch adds up; kept in the state, so that a continued run reports the same means."""

    loss: Float[Array, ""]
    right: Int[Array, ""]
    images: Int[Array, ""]


def no_sums() -> Sums:
    return Sums(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


class TrainState(NamedTuple):
    """Everything a training must remember; a pytree."""

    variables: PackedVariables
    opt: optax.OptState
    averaged: PackedVariables
    """Moving averages of parameters and statistics; empty without `ema`."""
    step: Int[Array, ""]
    sums: Sums


class Teacher(NamedTuple):
    """A network whose scores the student learns from, fed as it was trained."""

    network: Space
    preprocessing: Preprocessing
    variables: Variables


class Training(NamedTuple):
    """A pair of pure functions and what they hide."""

    init: Callable[[Variables], TrainState]
    step: Callable[[TrainState, Batch, PRNGKeyArray, Any], tuple[TrainState, dict[str, Array]]]
    rate: Schedule
    packing: Packing


def training(
    network: Space, preprocessing: Preprocessing, recipe: Recipe, rate: Schedule, teacher: Teacher | None = None
) -> Training:
    """The training of one architecture. `step` takes the teacher's variables as its last argument (None without)."""
    packing, net = Packing(network), Supernet(network, forms=wing().forms)
    gates, rule = one_hot(Layout(()), {}), optimizer(recipe, rate, packing)

    def init(variables: Variables) -> TrainState:
        # Copies: the state is donated to each step, and no buffer may be in it twice.
        packed = jax.tree.map(jnp.copy, packing.pack(variables))
        averaged = jax.tree.map(jnp.copy, packed) if recipe.ema else {}
        return TrainState(packed, rule.init(packed["params"]), averaged, jnp.zeros((), jnp.int32), no_sums())

    def loss_of(params: Leaves, stats: Leaves, images: Array, target: Array, extra: Array | None, key: PRNGKeyArray):
        drops = Drops(key, places(network), recipe.drop_path, recipe.dropout)
        variables = packing.unpack({"params": params, "batch_stats": stats})
        out: Any = net.apply(
            variables, prepare(images, preprocessing), gates, momentum=NORM_MOMENTUM, drops=drops,
            mutable=["batch_stats"],
        )  # fmt: skip
        (logits, _), updated = out
        loss = cross_entropy(logits, target)
        if extra is not None:
            term = DISTILLATION[recipe.distillation](logits, extra, recipe.distillation_temperature)
            loss = (1 - recipe.distillation_weight) * loss + recipe.distillation_weight * term
        return loss, (packing.pack(updated)["batch_stats"], logits)

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray, taught: Any = None):
        of_images, of_mix, of_drops = jax.random.split(jax.random.fold_in(key, state.step), 3)
        images = augmented(batch[0], of_images, recipe, preprocessing.side)
        images, share = mix(images, of_mix, recipe.mixup, recipe.cutmix, recipe.mix_probability, recipe.mix_switch)
        target = targets(batch[1], network.classes, recipe.label_smoothing, share)
        extra = None if teacher is None else jax.lax.stop_gradient(scores(teacher, taught, images))
        params, stats = state.variables["params"], state.variables["batch_stats"]
        grad = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (stats, logits)), gradient = grad(params, stats, images, target, extra, of_drops)
        updates, opt = rule.update(gradient, state.opt, params)
        variables = {"params": optax.apply_updates(params, updates), "batch_stats": stats}
        right, count = jnp.sum(jnp.argmax(logits, -1) == batch[1]), len(batch[1])
        sums = Sums(state.sums.loss + loss * count, state.sums.right + right, state.sums.images + count)
        averaged = moving_average(state.averaged, variables, recipe.ema, state.step) if recipe.ema else {}
        return TrainState(variables, opt, averaged, state.step + 1, sums), {"loss": loss, "lr": rate(state.step)}

    return Training(init, step, rate, packing)


def augmented(images: Any, key: PRNGKeyArray, recipe: Recipe, side: int) -> Float[Array, "N S S C"]:
    """Pixel values (0 to 255) after the recipe's shifts, mirrors, crops and covered rectangles."""
    of_shift, of_crop, of_cover = jax.random.split(key, 3)
    if recipe.crop_padding or recipe.flip:
        images = augment(images, of_shift, recipe.crop_padding, recipe.flip)
    x = random_crop(jnp.asarray(images).astype(jnp.float32), of_crop, recipe.crop_area, side)
    return erase(x, of_cover, recipe.erase)


def scores(teacher: Teacher, variables: Variables, images: Array) -> Float[Array, "N classes"]:
    """The teacher's scores of pixel values, at its own preprocessing and size."""
    x = prepare(images, teacher.preprocessing)
    return Supernet(teacher.network, forms=wing().forms).apply(variables, x, one_hot(Layout(()), {}))[0]  # type: ignore[index]


def moving_average(former: Any, now: Any, memory: float, step: Int[Array, ""]) -> Any:
    """memory * former + (1 - memory) * now, with less memory in the first steps: at most (1 + t) / (10 + t)."""
    t = step.astype(jnp.float32)
    kept = jnp.minimum(memory, (1 + t) / (10 + t))
    return jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, former, now)
