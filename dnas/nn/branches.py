"""Choices between whole blocks of which only a few are run: those of the largest gates.

    y = sum over the chosen i of g_i * block_i(x)          (ProxylessNAS, Cai et al. 2019, section 3.2.1)

Which ones is known at run time only, so the blocks are the branches of a `lax.switch`. What is compiled is as little
as can be: one body for options that are the same program with other parameters, once for all paths and for all layers
of a run of the same choices, which are loops. The gradients are written out. They keep each layer's input and run the
chosen blocks again; left to automatic differentiation, every branch would hand the intermediate values of all branches
to the backward pass, and so cost as much as running them all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from dnas.nn.rows import MATRICES, STATISTICS, VECTORS, Leaves, Rows, Shapes, of_kinds, size_of, split

Arrays = Mapping[str, Array]
"""By path."""


class Inputs(NamedTuple):
    """What every branch reads beside its own parameters."""

    x: Array
    shared: Any
    """A pytree of float arrays: what follows from the gates."""
    fixed: Any
    """A pytree of arrays without gradients: the norms' mode."""


BlockFunction = Callable[[Inputs, dict[str, Array], dict[str, Array]], tuple[Array, dict[str, Array]]]
"""`(inputs, weights, statistics) -> (y, statistics after)`; no gradient goes through the statistics."""


class Option(NamedTuple):
    """One block."""

    program: Hashable
    """Equal for options whose `run` is the same up to the sizes of kernels, with parameters in the same order."""
    size: int
    """Of the kernels: the largest one's `run` serves all."""
    run: BlockFunction


@dataclass(frozen=True, eq=False)
class _Body:
    """What is compiled for the options of one program."""

    run: BlockFunction
    shapes: Mapping[str, Leaves]
    """By kind, in the order of rows."""
    options: tuple[Mapping[str, Leaves] | None, ...]
    """The shapes of each option of this program."""

    def __call__(self, inputs: Inputs, option: Array, rows: Rows) -> tuple[Array, Array]:
        """The block's output and its statistics after, as a row."""
        weights: dict[str, Array] = {}
        for kind, row in ((MATRICES, rows.matrices), (VECTORS, rows.vectors)):
            weights |= self._weights(kind, row, option)
        statistics = dict(zip(self.shapes[STATISTICS], self._parts(STATISTICS, rows.statistics), strict=False))
        y, after = self.run(inputs, weights, statistics)
        flat = [jnp.ravel(after[path]) for path in self.shapes[STATISTICS]]
        return y, _padded(jnp.concatenate([*flat, jnp.zeros(0)]), len(rows.statistics))

    def _parts(self, kind: str, row: Array) -> list[Array]:
        """A row cut up as the largest option's is."""
        shapes = tuple(self.shapes[kind].values())
        return split(row[: size_of(self.shapes[kind])], shapes)

    def _weights(self, kind: str, row: Array, option: Array) -> dict[str, Array]:
        """A row's parameters in the body's shapes: zeros around smaller kernels.

        Up to the first kernel whose size differs between options all have the same places.
        """
        own = [None if shapes is None else list(shapes[kind].values()) for shapes in self.options]
        wanted = list(self.shapes[kind].values())
        same = next((n for n, shape in enumerate(wanted) if any(o and o[n] != shape for o in own)), len(wanted))
        tail = tuple(wanted[same:])
        shapes = (*wanted[:same], (sum(math.prod(shape) for shape in tail),)) if tail else tuple(wanted)
        parts = split(row[: size_of(self.shapes[kind])], shapes)
        for n, shape in enumerate(tail, same):
            starts = [sum(math.prod(s) for s in o[same:n]) if o else 0 for o in own]
            part = lax.dynamic_slice(parts[-1], (_of(starts, option),), (math.prod(shape),))
            parts.insert(n, _grown(part, shape, [o[n] if o else shape for o in own], option))
        return dict(zip(self.shapes[kind], parts, strict=False))


def _grown(part: Array, shape: tuple[int, ...], own: Sequence[tuple[int, ...]], option: Array) -> Array:
    """A kernel in the shape of the largest, from a vector that begins with the option's own.

    As a product with a matrix of zeros and ones, whose gradient is one too; that of an index is a loop on CPU.
    """
    side = shape[0]
    places = np.zeros((len(own) + 1, side * side, side * side), np.float32)
    for places_of, (least, *_) in zip(places, own, strict=False):
        ring = (side - least) // 2
        at = (np.arange(least)[:, None] + ring) * side + np.arange(least) + ring
        places_of[at.reshape(-1), np.arange(least * least)] = 1
    return (jnp.asarray(places)[option] @ part.reshape(side * side, -1)).reshape(shape)


@dataclass(frozen=True, eq=False)
class _Facts:
    """Static facts of a run of layers."""

    bodies: tuple[_Body, ...]
    body: tuple[int, ...]
    """Of each option."""


def run_largest(
    branches: Sequence[Option], shapes: Sequence[Shapes], rows: Rows, gates: Float[Array, "layers paths"],
    chosen: Int[Array, "layers paths"], inputs: Inputs,
) -> tuple[Array, Float[Array, "layers paths longest"]]:  # fmt: skip
    """The last layer's output, and the statistics of the blocks that ran, as rows.

    A layer is the sum over the chosen branches, each times its gate; the option past the last is nothing. Layers after
    the first need outputs of the input's shape.
    """
    facts = _facts_of(branches, shapes)
    return _chain(facts, inputs.x, inputs.shared, rows._replace(statistics=None), gates, chosen, rows.statistics,
                  inputs.fixed)  # fmt: skip


def _facts_of(branches: Sequence[Option], shapes: Sequence[Shapes]) -> _Facts:
    """A body for each program, that of its option with the largest kernels."""
    largest: dict[Hashable, int] = {}
    for n, branch in enumerate(branches):
        at = largest.setdefault(branch.program, n)
        if branch.size > branches[at].size:
            largest[branch.program] = n
    kinds = [of_kinds(own) for own in shapes]
    bodies = tuple(
        _Body(
            branches[n].run, kinds[n],
            tuple(own if branch.program == program else None for branch, own in zip(branches, kinds, strict=True)),
        )
        for program, n in largest.items()
    )  # fmt: skip
    number = {program: n for n, program in enumerate(largest)}
    return _Facts(bodies, tuple(number[branch.program] for branch in branches))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chain(
    facts: _Facts, x: Array, shared: Any, weights: Rows, gates: Float[Array, "layers paths"],
    chosen: Int[Array, "layers paths"], statistics: Float[Array, "layers paths longest"], fixed: Any,
) -> tuple[Array, Array]:  # fmt: skip
    y, (after, _) = _run_layers(facts, x, shared, weights, gates, chosen, statistics, fixed)
    return y, after


def _run_layers(
    facts: _Facts, x, shared, weights, gates, chosen, statistics, fixed
) -> tuple[Array, tuple[Array, Array]]:
    """The last output, and for each layer its statistics after and its input."""
    first = jax.tree.map(lambda leaf: leaf[0, 0], weights._replace(statistics=statistics))
    like = jax.eval_shape(facts.bodies[0], Inputs(x, shared, fixed), chosen[0, 0], first)

    def layer(x: Array, of_layer: tuple[Any, ...]):
        def run(body: _Body, option: Array, rows: Rows):
            return body(Inputs(x, shared, fixed), option, rows)

        runs = [functools.partial(run, body) for body in facts.bodies]

        def path(total: Array, of_path: tuple[Rows, Array, Array, Array]):
            weights, statistics, gate, option = of_path
            y, after = lax.switch(
                _of(facts.body, option, len(runs)), [*runs, nothing], option, weights._replace(statistics=statistics)
            )
            return total + gate.astype(y.dtype) * y, after

        y, after = lax.scan(path, jnp.zeros(like[0].shape, like[0].dtype), of_layer)
        return y, (after, x)

    def nothing(option: Array, rows: Rows):
        return jnp.zeros(like[0].shape, like[0].dtype), rows.statistics

    return _scan_layers(layer, x, (weights, statistics, gates, chosen))


def _scan_layers(layer, x, parts, reverse: bool = False):
    """A scan, except that a single layer may change the shape of x."""
    if len(jax.tree.leaves(parts)[0]) > 1:
        return lax.scan(layer, x, parts, reverse=reverse)
    y, out = layer(x, jax.tree.map(lambda leaf: leaf[0], parts))
    return y, jax.tree.map(lambda leaf: leaf[None], out)


def _forward(facts: _Facts, x, shared, weights, gates, chosen, statistics, fixed):
    y, (after, inputs) = _run_layers(facts, x, shared, weights, gates, chosen, statistics, fixed)
    return (y, after), (inputs, shared, weights, gates, chosen, statistics, fixed)


def _backward(facts: _Facts, saved: tuple, cts: tuple[Array, Array]):
    inputs, shared, weights, gates, chosen, statistics, fixed = saved

    def layer(carry: tuple[Array, Any], of_layer: tuple[Any, ...]):
        ct, d_shared = carry
        x, *of_paths = of_layer

        def pull(body: _Body, option: Array, rows: Rows, gate: Array):
            def output(x: Array, shared: Any, weights: Rows) -> Array:
                return body(Inputs(x, shared, fixed), option, weights._replace(statistics=rows.statistics))[0]

            y, back = jax.vjp(output, x, shared, rows._replace(statistics=None))
            return jnp.sum(ct * y, dtype=gate.dtype), *back(gate.astype(ct.dtype) * ct)

        def nothing(option: Array, rows: Rows, gate: Array):
            zeros = jax.tree.map(jnp.zeros_like, (x, shared, rows._replace(statistics=None)))
            return jnp.zeros(()), *zeros

        pulls = [functools.partial(pull, body) for body in facts.bodies]

        def path(carry, of_path: tuple[Rows, Array, Array, Array]):
            weights, statistics, gate, option = of_path
            d_gate, dx, ds, d_weights = lax.switch(
                _of(facts.body, option, len(pulls)), [*pulls, nothing], option,
                weights._replace(statistics=statistics), gate,
            )  # fmt: skip
            return jax.tree.map(jnp.add, carry, (dx, ds)), (d_weights, d_gate)

        return lax.scan(path, (jnp.zeros_like(x), d_shared), tuple(of_paths))

    begin = cts[0], jax.tree.map(jnp.zeros_like, shared)
    (d_x, d_shared), (d_weights, d_gates) = _scan_layers(
        layer, begin, (inputs, weights, statistics, gates, chosen), reverse=True
    )
    return d_x, d_shared, d_weights, d_gates, None, None, None


_chain.defvjp(_forward, _backward)


def _of(table: Sequence[int], option: Array, otherwise: int = 0) -> Int[Array, ""]:
    """The option's entry; `otherwise` for the option past the last."""
    return jnp.asarray([*table, otherwise], jnp.int32)[option]


def _padded(row: Array, size: int) -> Array:
    return jnp.pad(row, (0, size - len(row)))
