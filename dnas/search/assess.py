"""Accuracy of the supernet under gates, and batch norms estimated again for them.

Moments gathered under soft gates are wrong for a one-hot network, so before any one-hot evaluation they are estimated
anew over a fixed set of training batches. Both are one program, whose mode is an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dnas.data.batches import batch_indices
from dnas.data.preprocess import prepare
from dnas.nn.forward import Switch
from dnas.nn.gates import Gates
from dnas.nn.packing import Leaves, Packing
from dnas.nn.supernet import Supernet
from dnas.search.problem import Problem

PackedVariables = dict[str, Leaves]

BATCH = 100
"""Images in an evaluation batch."""


def assessment(problem: Problem) -> Callable:
    """The program `(variables, gates, images, labels, switch) -> (batch_stats, correct)`.

    Variables are packed; labels of -1 do not count.
    """
    s = problem.settings
    net = Supernet(problem.proxy, paper_resolution=s.paper_resolution, resolution_paths=s.resolution_paths or None)
    packing = Packing(problem.proxy)

    def run(variables, gates, images, labels, switch):
        (logits, _), updated = net.apply(
            packing.unpack(variables),
            prepare(images, problem.preprocessing),
            gates,
            momentum=switch,
            mutable=["batch_stats"],
        )
        return packing.pack(updated)["batch_stats"], jnp.sum(jnp.argmax(logits, -1) == labels)

    return run


def example_arguments(problem: Problem, variables: PackedVariables, gates: Gates) -> tuple:
    """Arguments of the shapes with which the program is always called."""
    images, labels = _batch(problem.dataset.train_images, problem.dataset.train_labels, np.arange(1))
    return variables, gates, images, labels, Switch(jnp.asarray(False), jnp.asarray(1.0))


def accuracy(program: Callable, problem: Problem, variables: PackedVariables, gates: Gates) -> tuple[float, int]:
    """Share of test images classified right, and their number (at most `check_images`)."""
    images, labels = problem.dataset.test_images, problem.dataset.test_labels
    count = min(len(labels), problem.settings.check_images or len(labels))
    correct = 0
    for start in range(0, count, BATCH):
        chosen = np.arange(start, min(start + BATCH, count))
        switch = Switch(jnp.asarray(False), jnp.asarray(1.0))
        correct += int(program(variables, gates, *_batch(images, labels, chosen), switch)[1])
    return correct / count, count


def estimate_norms(program: Callable, problem: Problem, variables: PackedVariables, gates: Gates) -> PackedVariables:
    """The variables with each norm's statistics averaged over `norm_batches` fixed batches of the weights' share."""
    data, index = problem.dataset, problem.split.weights_index
    for step in range(problem.settings.norm_batches):
        chosen = batch_indices(index, min(BATCH, len(index)), problem.seed, step)
        switch = Switch(jnp.asarray(True), jnp.asarray(step / (step + 1)))
        batch = _batch(data.train_images, data.train_labels, np.resize(chosen, BATCH))
        variables = {**variables, "batch_stats": program(variables, gates, *batch, switch)[0]}
    return variables


def _batch(images: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """A batch of exactly `BATCH` images, filled up with repetitions that do not count."""
    filled = np.resize(chosen, BATCH)
    marked = np.where(np.arange(BATCH) < len(chosen), labels[filled], -1)
    return jnp.asarray(images[filled]), jnp.asarray(marked)
