"""The memory of a training, known before anything is compiled."""

from __future__ import annotations

from typing import Any

import jax

from dnas.nn.memory import Mode, backward_floats, forward_floats
from dnas.nn.wing import forms_in
from dnas.process import free_memory
from dnas.process.precision import BYTES
from dnas.train.setup import Setup

COPIES = 6
"""Of the weights: themselves, their gradient and the next ones, what most optimisers keep, averages, the best epoch."""


def estimate(setup: Setup) -> int:
    """Bytes on a device: weights, what the optimiser and the best epoch keep of them, and one step."""
    batch, size = setup.devices.share(setup.recipe.batch_size), BYTES[setup.precision]
    mode = Mode(forms=forms_in(setup.precision, setup.devices))
    step = size * backward_floats(setup.network, mode, batch)
    if setup.teacher is not None:
        step += size * forward_floats(setup.teacher.network, mode, batch) + _bytes(setup.teacher.variables)
    return step + COPIES * _bytes(setup.variables)


def must_fit(setup: Setup) -> None:
    """Raises `UserError`, with what to try, where the training needs more memory than is free."""
    batch, images = setup.recipe.batch_size, len(setup.train_index)
    more = f" (there are {images:,} images)" if batch > images else ""
    tries = f"--batch-size below {batch:,}{more}, or smaller images with --image-size"
    free_memory.check(estimate(setup), "the training", tries)


def _bytes(arrays: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
