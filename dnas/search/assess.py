"""Accuracy of the supernet under gates, and batch norms estimated again for them.

Moments gathered under soft gates are wrong for a one-hot network, so before any one-hot evaluation they are estimated
anew over a fixed set of training batches. Both are one program `(variables, gates, images, labels, switch) ->
(batch_stats, correct)`, whose mode is an argument (`dnas.search.candidates.as_assessment`). Variables are packed;
labels of -1 do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from dnas.data.batches import batch_indices
from dnas.data.stream.images import within
from dnas.learning.evaluator import filled
from dnas.nn.forward import Switch
from dnas.nn.gates import Gates
from dnas.search.learn import PackedVariables
from dnas.search.problem import Problem


class Assessed(NamedTuple):
    """A network on the test images."""

    accuracy: float
    before: float
    """With the statistics that the norms had."""
    images: int
    variables: PackedVariables
    """With the statistics estimated again."""


def assessed(program: Callable, problem: Problem, variables: PackedVariables, gates: Gates) -> Assessed:
    """Test accuracy under `gates` before and after the norms are estimated again for them."""
    before, _ = accuracy(program, problem, variables, gates)
    variables = estimate_norms(program, problem, variables, gates)
    after, images = accuracy(program, problem, variables, gates)
    return Assessed(after, before, images, variables)


def accuracy(program: Callable, problem: Problem, variables: PackedVariables, gates: Gates) -> tuple[float, int]:
    """Share of test images classified right, and their number (at most `check_images`)."""
    images, labels, size = problem.dataset.test_images, problem.dataset.test_labels, problem.settings.assess_batch
    chosen = counted_images(problem)
    count = len(chosen)
    switch = Switch(jnp.asarray(False), jnp.asarray(1.0))
    parts = (chosen[start : start + size] for start in range(0, count, size))
    shown = (filled(images, labels, part, size, problem.devices) for part in parts)
    right = sum(int(program(variables, gates, *batch, switch)[1]) for batch in shown)
    return right / count, count


def counted_images(problem: Problem) -> Int[np.ndarray, " images"]:
    """Positions of the test images that accuracies are of, at most `check_images`.

    They are spread over all of them, whose order is as a rule that of the classes.
    """
    count = len(problem.dataset.test_labels)
    return np.linspace(0, count - 1, min(count, problem.settings.check_images or count)).astype(int)


def estimate_norms(program: Callable, problem: Problem, variables: PackedVariables, gates: Gates) -> PackedVariables:
    """The variables with each norm's statistics averaged over `norm_batches` fixed batches of the weights' share."""
    data, index, size = problem.dataset, problem.split.weights_index, problem.settings.assess_batch
    images = within(data.train_images, index)
    for step in range(problem.settings.norm_batches):
        chosen = batch_indices(index, min(size, len(index)), problem.seed, step)
        switch = Switch(jnp.asarray(True), jnp.asarray(step / (step + 1)))
        fixed = filled(images, data.train_labels, np.resize(chosen, size), size, problem.devices)
        variables = {**variables, "batch_stats": program(variables, gates, *fixed, switch)[0]}
    return variables


def accuracies(named: Iterable[tuple[str, Assessed]]) -> dict[str, float]:
    """`NAME` and `NAME_before` of each."""
    return {key: value for name, a in named for key, value in ((name, a.accuracy), (f"{name}_before", a.before))}
