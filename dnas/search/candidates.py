"""Several architectures of one supernet compared in one call, by one program that is compiled once.

An architecture is a row of gates, so comparing many is a loop over rows with the weights shared; each has statistics of
its own for the norms. The loop runs as many times as there are rows, `lanes` of them side by side (a `vmap` over gates
and statistics, never over weights). Side by side means one kernel a lane, that is grouped convolutions: good on
accelerators, slow on CPU, where lanes are 1, and nothing to a strategy that compares one network at a time.

All are compared on the same images, and norms are estimated on the same batches from the same start, so that what is
common to them cancels in their differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dnas.data.batches import batch_indices
from dnas.data.stream.images import soon, within
from dnas.errors import Diverged
from dnas.learning.evaluator import filled, read_at
from dnas.nn.forward import Switch
from dnas.nn.gates import Gates
from dnas.nn.packing import Leaves
from dnas.search import strategies
from dnas.search.compiling import Compiler, Program
from dnas.search.learn import PackedVariables, forward
from dnas.search.problem import Problem
from dnas.space.quantity import Assignment

LANES = 8
"""Side by side on an accelerator."""
ROWS = 16
"""Architectures in one call of the program; fewer are padded, which costs memory, and the time of whole lanes."""


class CandidateScores(NamedTuple):
    """Architectures on one set of images, in the order they were given."""

    accuracy: Float[np.ndarray, " candidates"]
    """Share of images classified right."""
    loss: Float[np.ndarray, " candidates"]
    """Mean cross-entropy."""


def lanes_of(problem: Problem, strategy: str) -> int:
    """Architectures that a strategy evaluates side by side here."""
    alone = jax.default_backend() == "cpu" or strategies.race_in_turn(strategy, bool(problem.family))
    return 1 if alone else LANES


def comparison(problem: Problem, lanes: int) -> Callable:
    """The program `(params, rows, statistics, count, images, labels, switch) -> (statistics, correct, loss)`.

    `rows` [ROWS, choices, options] are gates of which the first `count` are evaluated, `statistics` [ROWS, ...] those
    of their norms; `correct` and `loss` are sums over the images whose label is not -1.
    """
    run, layout = forward(problem), problem.layout

    def one(params: Leaves, row: Array, statistics: Leaves, images, labels, switch: Switch):
        logits, statistics = run({"params": params, "batch_stats": statistics}, Gates(row, layout), images, switch)
        counts = labels >= 0
        per_class = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        losses = -jnp.sum(per_class * jax.nn.log_softmax(logits), axis=-1)
        right = jnp.argmax(logits, -1) == labels
        return statistics, jnp.sum(right), jnp.sum(jnp.where(counts, losses, 0))

    evaluate: Callable = one if lanes == 1 else jax.vmap(one, in_axes=(None, 0, 0, None, None, None))

    def take(array: Array, at: Array) -> Array:
        return array[at] if lanes == 1 else jax.lax.dynamic_slice_in_dim(array, at, lanes)

    def put(array: Array, part: Array, at: Array) -> Array:
        return array.at[at].set(part) if lanes == 1 else jax.lax.dynamic_update_slice_in_dim(array, part, at, 0)

    def compare(params, rows, statistics, count, images, labels, switch):
        def chunk(n, results):
            at = n * lanes
            own = jax.tree.map(lambda a: take(a, at), results[0])
            found = evaluate(params, take(rows, at), own, images, labels, switch)
            return jax.tree.map(lambda a, b: put(a, b, at), results, found)

        start = (statistics, jnp.zeros(ROWS, jnp.int32), jnp.zeros(ROWS))
        return jax.lax.fori_loop(0, (count + lanes - 1) // lanes, chunk, start)

    return compare


def compile_comparison(problem: Problem, compiler: Compiler, variables: PackedVariables, lanes: int) -> Program:
    """`comparison`, compiled for the problem's shapes."""
    rows = jax.ShapeDtypeStruct((ROWS, *problem.layout.shape), jnp.float32)
    statistics = jax.tree.map(lambda a: jax.ShapeDtypeStruct((ROWS, *a.shape), a.dtype), variables["batch_stats"])
    data = problem.dataset
    size = problem.settings.assess_batch
    images, labels = filled(data.train_images, data.train_labels, np.arange(1), size, problem.devices)
    switch = Switch(jnp.asarray(False), jnp.asarray(1.0))
    return compiler(
        comparison(problem, lanes), variables["params"], rows, statistics, np.int32(1), images, labels, switch,
        gives=(statistics, 0, 0),
    )  # fmt: skip


def rows_of(problem: Problem, assignments: Sequence[Assignment]) -> Float[np.ndarray, "rows choices options"]:
    """One-hot gates, padded to `ROWS` with zeros."""
    rows = np.zeros((ROWS, *problem.layout.shape), np.float32)
    for n, assignment in enumerate(assignments):
        for c, choice in enumerate(problem.layout.choices):
            rows[n, c, assignment[choice.name]] = 1
    return rows


def compare(
    program: Program, problem: Problem, variables: PackedVariables, assignments: Sequence[Assignment],
    images: Int[np.ndarray, " images"] | None = None,
) -> CandidateScores:  # fmt: skip
    """Accuracy and loss of each architecture on the choices' share of the training images.

    Norms are estimated for each on `rank_norm_batches` batches of the weights' share, then images of the choices' share
    are classified: those at `images`, positions among the training images, or `rank_images` of them.

    Raises `Diverged` where scores of one are not finite: it has no place among the others.
    """
    if not assignments:
        return CandidateScores(np.zeros(0), np.zeros(0))
    parts = [assignments[n : n + ROWS] for n in range(0, len(assignments), ROWS)]
    shown = compared_images(problem) if images is None else images
    scores = [_compare(program, problem, variables, part, shown) for part in parts]
    found = CandidateScores(*(np.concatenate(values) for values in zip(*scores, strict=True)))
    if not np.isfinite(found.loss).all():
        raise Diverged(
            "the run diverged: a network that is compared gives scores that are not finite numbers; nothing is "
            "exported. Try a smaller --weights-lr"
        )
    return found


def _compare(
    program: Program, problem: Problem, variables: PackedVariables, part: Sequence[Assignment],
    shown: Int[np.ndarray, " images"],
) -> CandidateScores:  # fmt: skip
    s, data, split, devices = problem.settings, problem.dataset, problem.split, problem.devices
    size, norms = s.assess_batch, min(s.assess_batch, len(split.weights_index))
    of_weights, of_theta = (within(data.train_images, index) for index in (split.weights_index, split.theta_index))
    reads = [
        (of_weights, np.resize(batch_indices(split.weights_index, norms, problem.seed, step), size))
        for step in range(s.rank_norm_batches)
    ] + [(of_theta, shown[start : start + size]) for start in range(0, len(shown), size)]
    rows, count = rows_of(problem, part), np.int32(len(part))
    statistics = jax.tree.map(lambda a: jnp.broadcast_to(a, (ROWS, *a.shape)), variables["batch_stats"])
    correct, loss = np.zeros(len(part)), np.zeros(len(part))
    for n, (images, chosen) in enumerate(reads):
        for following, places in reads[n : n + 2]:
            soon(following, read_at(places, size, devices))
        estimating = n < s.rank_norm_batches
        switch = Switch(jnp.asarray(estimating), jnp.asarray(n / (n + 1) if estimating else 1.0, jnp.float32))
        fixed = filled(images, data.train_labels, chosen, size, devices)
        found, right, lost = program(variables["params"], rows, statistics, count, *fixed, switch)
        if estimating:
            statistics = found
        else:
            correct += np.asarray(right, np.float64)[: len(part)]
            loss += np.asarray(lost, np.float64)[: len(part)]
    return CandidateScores(correct / len(shown), loss / len(shown))


def compared_images(problem: Problem) -> Int[np.ndarray, " images"]:
    """Positions of the training images on which architectures are compared where nothing else is said."""
    return spread_images(problem, problem.settings.rank_images)


def spread_images(problem: Problem, most: int | None) -> Int[np.ndarray, " images"]:
    """Positions of at most so many training images of the choices' share; of all where `most` is None.

    They are spread over the whole share, whose order is that of the data set.
    """
    index = problem.split.theta_index
    if most is None or most >= len(index):
        return index
    return index[np.linspace(0, len(index) - 1, most).astype(int)]


def as_assessment(program: Program) -> Callable:
    """The program as `dnas.search.assess` calls it, for one architecture under gates."""

    def assess(
        variables: PackedVariables, gates: Gates, images, labels, switch: Switch
    ) -> tuple[Leaves, Int[Array, ""]]:
        rows = jnp.broadcast_to(gates.values, (ROWS, *gates.values.shape))
        statistics = jax.tree.map(lambda a: jnp.broadcast_to(a, (ROWS, *a.shape)), variables["batch_stats"])
        switch = Switch(switch.training, jnp.asarray(switch.keep, jnp.float32))
        found, correct, _ = program(variables["params"], rows, statistics, np.int32(1), images, labels, switch)
        return jax.tree.map(lambda a: a[0], found), correct[0]

    return assess
