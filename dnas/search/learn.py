"""The program in which a supernet learns: one batch in, gradients for the weights and for the gates out.

Both come from one program. A gate scales weights, so its gradient needs theirs anyway, and a program for each would
double what is compiled; what follows (optimisers, multipliers) are programs of a few operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.data.batches import Batch
from dnas.data.preprocess import prepare
from dnas.learning.course import Metrics
from dnas.learning.terms import Outputs, Pass, outputs, taps_of, total
from dnas.nn.forward import NORM_MOMENTUM, Switch, blend
from dnas.nn.gates import Gates, keep_largest
from dnas.nn.packing import Chosen, Leaves, Packing
from dnas.nn.supernet import ROWS_AFTER, Supernet
from dnas.nn.wing import forms_in
from dnas.process.devices import Parts
from dnas.process.precision import Precision
from dnas.search.problem import Problem
from dnas.space.space import Space

PackedVariables = dict[str, Leaves]
"""`{"params": ..., "batch_stats": ...}`, packed (`dnas.nn.packing`)."""


class Learned(NamedTuple):
    """What one batch tells."""

    loss: Float[Array, ""]
    """The weighted sum of the problem's terms."""
    accuracy: Float[Array, ""]
    logits: Float[Array, "N classes"]
    statistics: Leaves
    """Running moments of the norms after this batch."""
    params: Leaves
    """d loss / d the parameters that took part (`dnas.nn.packing.Packing.used`)."""
    gates: Float[Array, "choices options"]
    """d loss / d gates."""
    chosen: Chosen
    """The blocks that took part, of those of which a few are run."""
    terms: dict[str, Float[Array, ""]]
    """Of the loss, without their weights."""

    @property
    def metrics(self) -> Metrics:
        """Of a row of the history: with the terms, where there are several."""
        several = {"terms": self.terms} if len(self.terms) > 1 else {}
        return {"loss": self.loss, "accuracy": self.accuracy, **several}


def packing_of(problem: Problem) -> Packing:
    """How the search keeps its variables."""
    return _packing(problem.proxy, problem.settings.paths or None)


@functools.lru_cache(maxsize=32)
def _packing(space: Space, paths: int | None) -> Packing:
    return Packing(space, paths)


def kept(problem: Problem, gates: Gates) -> Gates:
    """The gates of what a step evaluates: of resolutions and of choices between blocks the settings' few largest."""
    space, s = problem.space, problem.settings
    for choices, count in ((space.resolution.over, s.resolution_paths), (space.block_choices(), s.paths)):
        names = [c.name for c in choices if len(c) > count]
        gates = keep_largest(gates, names, count) if count else gates
    return gates


class PackedSupernet(NamedTuple):
    """The problem's supernet on packed variables."""

    packing: Packing
    run: Callable[..., tuple[Outputs, Leaves]]
    """`(used, statistics, gates, chosen, images uint8, momentum) -> (outputs, statistics)`"""

    def chosen(self, problem: Problem, gates: Gates) -> tuple[Gates, Chosen]:
        """The gates of what is evaluated, and the blocks that run under them."""
        gates = kept(problem, gates)
        return gates, self.packing.chosen(gates)


def packed_supernet(problem: Problem, taps: tuple[str, ...] = (), precision: Precision = "float32") -> PackedSupernet:
    """The supernet as the problem's settings want it, on packed variables."""
    s, packing = problem.settings, packing_of(problem)
    net = Supernet(
        problem.proxy, paper_resolution=s.paper_resolution, resolution_paths=s.resolution_paths or None,
        paths=s.paths or None, low_memory=s.low_memory, forms=forms_in(precision, problem.devices),
        precision=precision,
    )  # fmt: skip

    def of_part(parts: Parts | None, learned: tuple[Leaves, Array], shared: tuple, images: Array):
        (used, values), (statistics, chosen, training) = learned, shared
        out, updated = net.clone(parts=parts).apply(
            packing.opened(used, statistics, chosen), prepare(images, problem.preprocessing),
            Gates(values, problem.layout), momentum=0.0 if training is None else Switch(training, 0.0), taps=taps,
            mutable=["batch_stats", ROWS_AFTER],
        )  # fmt: skip
        return out, packing.closed(statistics, updated, chosen)

    pass_through = problem.devices.spread(of_part)

    def run(used: Leaves, statistics: Leaves, gates: Gates, chosen: Chosen, images: Array, momentum: float | Switch):
        # The moments of this batch come out as they are and join the running ones packed, in one operation for all.
        training, keep = momentum if isinstance(momentum, Switch) else (None, momentum)
        learned, shared = (used, gates.values), (statistics, chosen, training)
        (logits, values), moments = pass_through(learned, shared, images)
        after = jax.tree.map(lambda old, new: blend(old, new, keep), statistics, moments)
        return outputs(problem.proxy, logits, values, taps), after

    return PackedSupernet(packing, run)


def forward(problem: Problem) -> Callable[..., tuple[Array, Leaves]]:
    """`(variables, gates, images uint8, momentum) -> (logits, statistics)` of the problem's supernet."""
    net = packed_supernet(problem)

    def run(variables: PackedVariables, gates: Gates, images: Array, momentum: float | Switch):
        gates, chosen = net.chosen(problem, gates)
        used = net.packing.used(variables["params"], chosen)
        found, statistics = net.run(used, variables["batch_stats"], gates, chosen, images, momentum)
        return found.logits, statistics

    return run


def learning(
    problem: Problem, whole: bool = False
) -> Callable[[PackedVariables, Gates, Array, Float[Array, "N classes"]], Learned]:
    """`(variables, gates, images, targets) -> Learned`, for targets that are distributions over classes.

    `whole`: with gradients for all parameters, zeros for blocks that did not run, so that those of several networks
    can be added up.
    """
    terms = problem.terms
    net = packed_supernet(problem, taps_of(terms).student, problem.precision)
    packing = net.packing

    def learn(variables: PackedVariables, gates: Gates, images: Array, targets: Array) -> Learned:
        chosen = net.chosen(problem, gates)[1]

        def loss_of(params: Leaves, values: Array):
            at = kept(problem, Gates(values, gates.layout))
            used = packing.used(params, chosen) if whole else params
            found, statistics = net.run(used, variables["batch_stats"], at, chosen, images, NORM_MOMENTUM)
            loss, of_terms = total(terms, Pass(targets, found, at))
            return loss, (found.logits, statistics, of_terms)

        params = variables["params"] if whole else packing.used(variables["params"], chosen)
        gradient = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
        (loss, (logits, statistics, of_terms)), (params, values) = gradient(params, gates.values)
        right = jnp.mean(jnp.argmax(logits, -1) == jnp.argmax(targets, -1))
        return Learned(loss, right, logits, statistics, params, values, {} if whole else chosen, of_terms)

    return learn


def learned_like(problem: Problem, variables: PackedVariables, gates: Gates, whole: bool = False) -> Learned:
    """The structure of what `learning` returns, with shapes of what an update takes."""
    packing = packing_of(problem)

    def used(params: Leaves, gates: Gates) -> tuple[Leaves, Chosen]:
        chosen = packing.chosen(gates)
        return packing.used(params, chosen), chosen

    params, chosen = (variables["params"], {}) if whole else jax.eval_shape(used, variables["params"], gates)
    terms = dict.fromkeys((term.name for term in problem.terms), 0)
    return Learned(0, 0, 0, variables["batch_stats"], params, gates.values, chosen, terms)  # pyright: ignore


def fed(problem: Problem, batch: Batch, targets: np.ndarray | Array | None = None) -> tuple[Any, Any]:
    """A batch as `learning` takes it: its images, and its labels as distributions.

    `batch` holds the rows that this host reads; `targets`, in place of labels, are those of the whole batch.
    """
    images, labels = batch
    on, size = problem.devices, problem.settings.batch_size
    if targets is not None:
        return on.batch_of_rows(images, size), on.batch(targets)
    return on.batch_of_rows((images, as_targets(labels, problem.dataset.classes)), size)


def as_targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """int labels [N] as float32 distributions [N, classes]."""
    return np.eye(classes, dtype=np.float32)[labels]
