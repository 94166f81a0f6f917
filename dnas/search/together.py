"""The program in which a supernet learns for the members of a family: each has its share of the batch under its own
gates, and the weights get the mean of their gradients.

Norms take the moments of a member's own share: what its gates make of the maps is what its networks will see, while
moments over all members would be those of a mixture that no network has. Running statistics are each member's own too.

Members come one after another or side by side (a `vmap` over gates, statistics and images, never over weights).
Arithmetic is the same: each image is seen once. One after another needs the memory of one share. Side by side is for
accelerators, which small shares would not fill; a choice between whole blocks would there run every block of every
member, so spaces that sample blocks take one after another everywhere. Which blocks run is thus decided for each member
by its own gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dnas.learning.course import Metrics
from dnas.learning.terms import Pass, taps_of, total
from dnas.nn.forward import NORM_MOMENTUM
from dnas.nn.gates import Gates
from dnas.nn.packing import Leaves
from dnas.search.learn import Learned, PackedVariables, packed_supernet, packing_of
from dnas.search.problem import Problem

EACH = "_each"
"""Ends the name of a metric that has a number for each member, the loosest budget first."""


def default_lanes(problem: Problem) -> int:
    """Members that learn side by side: one on CPU and where blocks are sampled, else all."""
    alone = jax.default_backend() == "cpu" or bool(packing_of(problem).runs)
    return 1 if alone else len(problem.family)


def shares(batch: Array, count: int) -> Array:
    """[N, ...] as [count, N / count, ...]: image n is of member n mod count.

    In turn, so that a batch that lies on several devices in one piece each is shared out where it lies.
    """
    return jnp.swapaxes(batch.reshape(-1, count, *batch.shape[1:]), 0, 1)


def learning_together(problem: Problem, lanes: int) -> Callable[[PackedVariables, Gates, Array, Array], Learned]:
    """`(variables, gates, images, targets) -> Learned`, whose values have a leading axis of members.

    So have the gates, and the statistics of `variables`. `params` is the mean of the members' gradients, of all
    parameters.
    """
    terms, layout, count = problem.terms, problem.layout, len(problem.family)
    net = packed_supernet(problem, taps_of(terms).student, problem.precision)

    def loss_of(params: Leaves, values: Array, statistics: Any, images: Array, targets: Array):
        at, chosen = net.chosen(problem, Gates(values, layout))
        used = net.packing.used(params, chosen)
        found, statistics = net.run(used, statistics, at, chosen, images, NORM_MOMENTUM)
        loss, of_terms = total(terms, Pass(targets, found, at))
        return loss, (found.logits, statistics, of_terms)

    losses_of = _one(loss_of) if lanes == 1 else jax.vmap(loss_of, in_axes=(None, 0, 0, 0, 0))

    def summed(params: Leaves, values: Array, *rest: Any):
        losses, found = losses_of(params, values, *rest)
        return jnp.sum(losses), (losses, *found)

    def learn(variables: PackedVariables, gates: Gates, images: Array, targets: Array) -> Learned:
        params = variables["params"]

        def chunk(so_far: Leaves, members: tuple):
            (_, found), (d_params, d_values) = jax.value_and_grad(summed, (0, 1), has_aux=True)(params, *members)
            return jax.tree.map(jnp.add, so_far, d_params), (*found, d_values)

        of_members = gates.values, variables["batch_stats"], shares(images, count), shares(targets, count)
        chunks = jax.tree.map(lambda a: a.reshape(count // lanes, lanes, *a.shape[1:]), of_members)
        d_params, found = jax.lax.scan(chunk, jax.tree.map(jnp.zeros_like, params), chunks)
        found = jax.tree.map(lambda a: a.reshape(count, *a.shape[2:]), found)
        losses, logits, statistics, of_terms, d_values = found
        right = jnp.argmax(logits, -1) == jnp.argmax(of_members[-1], -1)
        mean = jax.tree.map(lambda leaf: leaf / count, d_params)
        return Learned(losses, jnp.mean(right, -1), logits, statistics, mean, d_values, {}, of_terms)

    return learn


def _one(loss_of: Callable) -> Callable:
    """`loss_of` as a `vmap` over one member would be."""

    def losses_of(params: Leaves, *members: Any):
        found = loss_of(params, *jax.tree.map(lambda a: a[0], members))
        return jax.tree.map(lambda a: a[None], found)

    return losses_of


def told(metrics: Metrics) -> Metrics:
    """Metrics of all members as a row of the history has them: what a single search would say, and each member's.

    The budgets' are those of the tightest member, which the result is of; the others are means.
    """

    def of_all(name: str, value: Array) -> Array:
        return value[-1] if name in ("expected", "multipliers") else jnp.mean(value.astype(jnp.float32), 0)

    row = {name: jax.tree.map(lambda leaf, name=name: of_all(name, leaf), value) for name, value in metrics.items()}
    return row | {name + EACH: value for name, value in metrics.items()}
