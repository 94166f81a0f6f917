"""One step of a training as a pure function `(state, batch, key) -> (state, metrics)`, and the state it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dnas.data.augment import augment
from dnas.data.mix import erase, mix, random_crop
from dnas.data.preprocess import Preprocessing, prepare
from dnas.learning.losses import of_labels, of_teacher, targets
from dnas.learning.manifold import Weights, of_manifold, pairs_of
from dnas.learning.terms import Outputs, Pass, Term, outputs, taps_of, total
from dnas.nn.drops import Drops, places
from dnas.nn.forward import NORM_MOMENTUM
from dnas.nn.gates import Layout, one_hot
from dnas.nn.packing import Leaves, Packing
from dnas.nn.supernet import Supernet, Variables
from dnas.nn.wing import forms_in
from dnas.process.devices import ONE, Devices, Parts
from dnas.process.precision import Precision
from dnas.space.space import Space
from dnas.train.optimizer import optimizer
from dnas.train.recipe import Recipe
from dnas.train.schedule import Schedule

Batch = tuple[Any, Any]
"""Images uint8 [B, H, W, C] and labels int32 [B]."""
PackedVariables = dict[str, Leaves]
OF_TERMS = 1 << 30
"""Stream of random numbers that terms draw from: apart from those of drops, whose numbers are small."""


class Sums(NamedTuple):
    """What an epoch adds up; kept in the state, so that a continued run reports the same means."""

    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    """Of the loss, by name, without their weights."""
    right: Int[Array, ""]
    images: Int[Array, ""]


def no_sums(terms: Iterable[str]) -> Sums:
    """Of terms with these names."""
    zero = jnp.zeros((), jnp.int32)
    return Sums(jnp.zeros(()), {name: jnp.zeros(()) for name in terms}, zero, jnp.copy(zero))


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


def terms_of(recipe: Recipe, student: Space, teacher: Space | None) -> tuple[Term, ...]:
    """The recipe's loss: cross-entropy, which shares the loss with distillation where there is a teacher:
    (1 - alpha) CE + alpha KD + beta (w_intra L_intra + w_inter L_inter + w_random L_random) (Hao et al. 2022, eq. 10).
    """
    if teacher is None:
        return (of_labels(),)
    share, beta = recipe.distillation_weight, recipe.manifold
    terms = of_labels(1 - share), of_teacher(recipe.distillation, share, recipe.distillation_temperature)
    if not beta:
        return terms
    pairs = pairs_of(student, teacher, recipe.manifold_ends)
    parts = Weights(recipe.manifold_intra, recipe.manifold_inter, recipe.manifold_random)
    weights = Weights(*(beta * weight for weight in parts))
    return (*terms, *of_manifold(student, teacher, pairs, weights, recipe.manifold_samples))


def training(
    network: Space, preprocessing: Preprocessing, recipe: Recipe, rate: Schedule, teacher: Teacher | None = None,
    terms: Sequence[Term] | None = None, devices: Devices = ONE, precision: Precision = "float32",
) -> Training:  # fmt: skip
    """The training of one architecture on the sum of `terms`, the recipe's own if not given.

    `step` takes the teacher's variables as its last argument (None without).
    """
    packing = Packing(network)
    net = Supernet(network, forms=forms_in(precision, devices), precision=precision)
    gates, rule = one_hot(Layout(()), {}), optimizer(recipe, rate, packing)
    terms = terms_of(recipe, network, None if teacher is None else teacher.network) if terms is None else terms
    names, taps = [term.name for term in terms], taps_of(terms)

    def init(variables: Variables) -> TrainState:
        # Copies: the state is donated to each step, and no buffer may be in it twice.
        packed = jax.tree.map(jnp.copy, packing.pack(variables))
        averaged = jax.tree.map(jnp.copy, packed) if recipe.ema else {}
        return TrainState(packed, rule.init(packed["params"]), averaged, jnp.zeros((), jnp.int32), no_sums(names))

    def of_part(parts: Parts | None, params: Leaves, shared: tuple[Leaves, PRNGKeyArray], images: Array):
        stats, key = shared
        drops = Drops(key, places(network), recipe.drop_path, recipe.dropout, parts)
        out, updated = net.clone(parts=parts).apply(
            packing.unpack({"params": params, "batch_stats": stats}), prepare(images, preprocessing), gates,
            momentum=NORM_MOMENTUM, drops=drops, taps=taps.student, mutable=["batch_stats"],
        )  # fmt: skip
        return out, packing.pack(updated)["batch_stats"]

    pass_through = devices.spread(of_part)

    def loss_of(
        params: Leaves, stats: Leaves, images: Array, target: Array, taught: Outputs | None, key: PRNGKeyArray
    ):  # fmt: skip
        (logits, values), updated = pass_through(params, (stats, key), images)
        student, named = outputs(network, logits, values, taps.student), packing.unpack_group("params", params)
        loss, of_terms = total(terms, Pass(target, student, gates, taught, named, jax.random.fold_in(key, OF_TERMS)))
        return loss, (updated, logits, of_terms)

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray, taught: Any = None):
        of_images, of_mix, of_drops = jax.random.split(jax.random.fold_in(key, state.step), 3)
        images = augmented(batch[0], of_images, recipe, preprocessing.side)
        images, share = mix(images, of_mix, recipe.mixup, recipe.cutmix, recipe.mix_probability, recipe.mix_switch)
        target = targets(batch[1], network.classes, recipe.label_smoothing, share)
        seen = None if teacher is None else answers(teacher, taught, images, taps.teacher, devices, precision)
        seen = jax.lax.stop_gradient(seen)
        params, stats = state.variables["params"], state.variables["batch_stats"]
        grad = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (stats, logits, of_terms)), gradient = grad(params, stats, images, target, seen, of_drops)
        updates, opt = rule.update(gradient, state.opt, params)
        variables = {"params": optax.apply_updates(params, updates), "batch_stats": stats}
        sums = _added(state.sums, loss, of_terms, jnp.sum(jnp.argmax(logits, -1) == batch[1]), len(batch[1]))
        averaged = moving_average(state.averaged, variables, recipe.ema, state.step) if recipe.ema else {}
        after = TrainState(variables, opt, averaged, state.step + 1, sums)
        return after, {"loss": loss, "lr": rate(state.step), "terms": of_terms}

    return Training(init, step, rate, packing)


def _added(sums: Sums, loss: Array, terms: dict[str, Array], right: Array, count: int) -> Sums:
    """The sums after a batch of `count` images."""
    added = {name: so_far + terms[name] * count for name, so_far in sums.terms.items()}
    return Sums(sums.loss + loss * count, added, sums.right + right, sums.images + count)


def augmented(images: Any, key: PRNGKeyArray, recipe: Recipe, side: int) -> Float[Array, "N S S C"]:
    """Pixel values (0 to 255) after the recipe's shifts, mirrors, crops and covered rectangles."""
    of_shift, of_crop, of_cover = jax.random.split(key, 3)
    if recipe.crop_padding or recipe.flip:
        images = augment(images, of_shift, recipe.crop_padding, recipe.flip)
    x = random_crop(jnp.asarray(images).astype(jnp.float32), of_crop, recipe.crop_area, side)
    return erase(x, of_cover, recipe.erase)


def answers(
    teacher: Teacher,
    variables: Variables,
    images: Array,
    taps: tuple[str, ...] = (),
    devices: Devices = ONE,
    precision: Precision = "float32",
) -> Outputs:
    """What the teacher makes of pixel values, at its own preprocessing and size."""
    net = Supernet(teacher.network, forms=forms_in(precision, devices), precision=precision)

    def of_part(parts: Parts | None, _: Any, variables: Variables, images: Array):
        x = prepare(images, teacher.preprocessing)
        return net.apply(variables, x, one_hot(Layout(()), {}), taps=taps), None

    (logits, values), _ = devices.spread(of_part)({}, variables, images)
    return outputs(teacher.network, logits, values, taps)


def moving_average(former: Any, now: Any, memory: float, step: Int[Array, ""]) -> Any:
    """memory * former + (1 - memory) * now, with less memory in the first steps: at most (1 + t) / (10 + t)."""
    t = step.astype(jnp.float32)
    kept = jnp.minimum(memory, (1 + t) / (10 + t))
    return jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, former, now)
