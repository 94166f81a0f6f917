"""The program in which a supernet learns: one batch in, gradients for the weights and for the gates out.

Both come from one program. A gate scales weights, so its gradient needs theirs anyway, and a program for each would
double what is compiled; what follows (optimisers, multipliers) are programs of a few operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dnas.data.preprocess import prepare
from dnas.nn.forward import NORM_MOMENTUM, Switch, blend
from dnas.nn.gates import Gates, keep_largest
from dnas.nn.loops import usable
from dnas.nn.packing import Leaves, Packing
from dnas.nn.supernet import Supernet
from dnas.search.problem import Problem

PackedVariables = dict[str, Leaves]
"""`{"params": ..., "batch_stats": ...}`, packed (`dnas.nn.packing`)."""


class Learned(NamedTuple):
    """What one batch tells."""

    loss: Float[Array, ""]
    """Cross-entropy, the mean over the batch."""
    accuracy: Float[Array, ""]
    logits: Float[Array, "N classes"]
    statistics: Leaves
    """Running moments of the norms after this batch."""
    params: Leaves
    """d loss / d parameters."""
    gates: Float[Array, "choices options"]
    """d loss / d gates."""


def kept(problem: Problem, gates: Gates) -> Gates:
    """The gates of what a step evaluates: of resolutions and of choices between blocks the settings' few largest."""
    space, s = problem.space, problem.settings
    for choices, count in ((space.resolution.over, s.resolution_paths), (space.block_choices(), s.paths)):
        names = [c.name for c in choices if len(c) > count]
        gates = keep_largest(gates, names, count) if count else gates
    return gates


def forward(problem: Problem) -> Callable[..., tuple[Array, Leaves]]:
    """`(variables, gates, images uint8, momentum) -> (logits, statistics)` of the problem's supernet."""
    s = problem.settings
    net = Supernet(
        problem.proxy, paper_resolution=s.paper_resolution, resolution_paths=s.resolution_paths or None,
        paths=s.paths or None, low_memory=s.low_memory, kernels=usable(),
    )  # fmt: skip
    packing = Packing(problem.proxy)

    def run(variables: PackedVariables, gates: Gates, images: Array, momentum: float | Switch):
        # The moments of this batch come out as they are and join the running ones packed, in one operation for all.
        keep = momentum.keep if isinstance(momentum, Switch) else momentum
        (logits, _), updated = net.apply(
            packing.unpack(variables), prepare(images, problem.preprocessing), kept(problem, gates),
            momentum=momentum._replace(keep=0.0) if isinstance(momentum, Switch) else 0.0, mutable=["batch_stats"],
        )  # fmt: skip
        moments = packing.pack(updated)["batch_stats"]
        return logits, jax.tree.map(lambda old, new: blend(old, new, keep), variables["batch_stats"], moments)

    return run


def learning(problem: Problem) -> Callable[[PackedVariables, Gates, Array, Float[Array, "N classes"]], Learned]:
    """`(variables, gates, images, targets) -> Learned`, for targets that are distributions over classes."""
    run = forward(problem)

    def learn(variables: PackedVariables, gates: Gates, images: Array, targets: Array) -> Learned:
        def loss_of(params: Leaves, values: Array):
            at = {**variables, "params": params}
            logits, statistics = run(at, Gates(values, gates.layout), images, NORM_MOMENTUM)
            return optax.softmax_cross_entropy(logits, targets).mean(), (logits, statistics)

        gradient = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
        (loss, (logits, statistics)), (params, values) = gradient(variables["params"], gates.values)
        right = jnp.argmax(logits, -1) == jnp.argmax(targets, -1)
        return Learned(loss, jnp.mean(right), logits, statistics, params, values)

    return learn


def learned_like(variables: PackedVariables, gates: Gates) -> Learned:
    """The structure of what `learning` returns."""
    return Learned(0, 0, 0, variables["batch_stats"], variables["params"], gates.values)  # pyright: ignore


def as_targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """int labels [N] as float32 distributions [N, classes]."""
    return np.eye(classes, dtype=np.float32)[labels]
