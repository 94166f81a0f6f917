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

Arrays = Mapping[str, Array]
"""By path."""


class Inputs(NamedTuple):
    """What every branch reads beside its own parameters."""

    x: Array
    shared: Any
    """A pytree of float arrays: what follows from the gates."""
    fixed: Any
    """A pytree of arrays without gradients: the norms' mode."""


Run = Callable[[Inputs, dict[str, Array], dict[str, Array]], tuple[Array, dict[str, Array]]]
"""`(inputs, weights, statistics) -> (y, statistics after)`; no gradient goes through the statistics."""


class Branch(NamedTuple):
    """One option."""

    program: Hashable
    """Equal for options whose `run` is the same up to the sizes of kernels, with parameters in the same order."""
    size: int
    """Of the kernels: the largest one's `run` serves all."""
    run: Run


@dataclass(frozen=True, eq=False)
class _Body:
    """What is compiled for the options of one program."""

    run: Run
    weights: Mapping[str, tuple[int, ...]]
    """Shapes."""
    statistics: Mapping[str, tuple[int, ...]]

    def __call__(self, inputs: Inputs, weights: Array, row: Array) -> tuple[Array, Array]:
        """The block's output and its statistics after, both kinds of parameters flat, with anything behind them."""
        statistics = _named(row, self.statistics)
        y, after = self.run(inputs, _named(weights, self.weights), dict(statistics))
        return y, _flat([after[name] for name in statistics], len(row))


@dataclass(frozen=True, eq=False)
class _Plan:
    """Static facts of a run of layers."""

    bodies: tuple[_Body, ...]
    body: tuple[int, ...]
    """Of each option."""

    @property
    def sizes(self) -> list[int]:
        """Numbers of weights of the bodies."""
        return [_size(body.weights) for body in self.bodies]

    @property
    def starts(self) -> list[int]:
        """Where each option's weights begin among those of all, and where they end."""
        return np.cumsum([0, *(self.sizes[b] for b in self.body)]).tolist()


def run_largest(
    branches: Sequence[Branch], weights: Sequence[Sequence[Arrays]], statistics: Sequence[Sequence[Arrays]],
    gates: Float[Array, "layers options"], inputs: Inputs, paths: int,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """The last layer's output and all statistics by path: new ones of the branches that ran, the others as they were.

    A layer is the sum over the `paths` branches of its largest gates. Weights and statistics are given for each layer
    and option. A branch whose gate is 0 does not run, even where fewer than `paths` others do: at one-hot gates there
    is one. Layers after the first need outputs of the input's shape.
    """
    plan = _planned(branches, weights[0], statistics[0])
    largest, chosen = lax.top_k(gates, paths)
    # Not `> 0`: a gate that is NaN must show in the result.
    chosen = jnp.where(largest == 0, len(branches), chosen)
    flat = jnp.stack(
        [_flat([leaf for n, own in enumerate(layer) for leaf in _grown(own, plan, n)]) for layer in weights]
    )
    longest = max(_size(body.statistics) for body in plan.bodies)
    rows = [[*(_flat(list(own.values()), longest) for own in layer), jnp.zeros(longest)] for layer in statistics]
    found: Any = _chain(
        plan, inputs.x, inputs.shared, flat, largest, chosen, jnp.stack([jnp.stack(row) for row in rows]), inputs.fixed
    )
    y, rows = found
    after = {}
    for layer, updated in zip(statistics, rows, strict=True):
        for own, row in zip(layer, updated, strict=False):
            after |= _named(row, {name: leaf.shape for name, leaf in own.items()})
    return y, after


def _planned(branches: Sequence[Branch], weights: Sequence[Arrays], statistics: Sequence[Arrays]) -> _Plan:
    """A body for each program, that of its option with the largest kernels."""
    largest: dict[Hashable, int] = {}
    for n, branch in enumerate(branches):
        at = largest.setdefault(branch.program, n)
        if branch.size > branches[at].size:
            largest[branch.program] = n
    bodies = tuple(
        _Body(branches[n].run, *({path: leaf.shape for path, leaf in own[n].items()} for own in (weights, statistics)))
        for n in largest.values()
    )
    number = {program: n for n, program in enumerate(largest)}
    return _Plan(bodies, tuple(number[branch.program] for branch in branches))


def _grown(own: Arrays, plan: _Plan, option: int) -> list[Array]:
    """The option's weights in the shapes of its body: zeros around smaller kernels."""
    shapes = plan.bodies[plan.body[option]].weights.values()
    return [
        jnp.pad(leaf, [((new - old) // 2,) * 2 for old, new in zip(leaf.shape, shape, strict=True)])
        for leaf, shape in zip(own.values(), shapes, strict=True)
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chain(
    plan: _Plan, x: Array, shared: Any, weights: Float[Array, "layers all"], gates: Float[Array, "layers paths"],
    chosen: Int[Array, "layers paths"], rows: Float[Array, "layers options longest"], fixed: Any,
) -> tuple[Array, Array]:  # fmt: skip
    y, (rows, _) = _run_layers(plan, x, shared, weights, gates, chosen, rows, fixed)
    return y, rows


def _run_layers(plan: _Plan, x, shared, weights, gates, chosen, rows, fixed) -> tuple[Array, tuple[Array, Array]]:
    """The last output, and for each layer its statistics after and its input."""
    like = jax.eval_shape(plan.bodies[0], Inputs(x, shared, fixed), weights[0], rows[0, 0])[0]

    def layer(x: Array, of_layer: tuple[Array, ...]):
        weights, gates, chosen, rows = of_layer

        def run(body: _Body, start: Array, row: Array):
            size = _size(body.weights)
            return body(Inputs(x, shared, fixed), lax.dynamic_slice(weights, (start,), (size,)), row)

        runs = [functools.partial(run, body) for body in plan.bodies]

        def path(carry: tuple[Array, Array], of_path: tuple[Array, Array]):
            total, rows = carry
            gate, option = of_path
            start = _of(plan.starts, option)
            y, row = lax.switch(_of(plan.body, option, len(runs)), [*runs, nothing], start, rows[option])
            return (total + gate * y, rows.at[option].set(row)), None

        (y, rows), _ = lax.scan(path, (jnp.zeros(like.shape, like.dtype), rows), (gates, chosen))
        return y, (rows, x)

    def nothing(start: Array, row: Array):
        return jnp.zeros(like.shape, like.dtype), row

    return _scan_layers(layer, x, (weights, gates, chosen, rows))


def _scan_layers(layer, x, parts):
    """A scan, except that a single layer may change the shape of x."""
    if len(parts[0]) > 1:
        return lax.scan(layer, x, parts)
    y, out = layer(x, jax.tree.map(lambda leaf: leaf[0], parts))
    return y, jax.tree.map(lambda leaf: leaf[None], out)


def _forward(plan: _Plan, x, shared, weights, gates, chosen, rows, fixed):
    y, (after, inputs) = _run_layers(plan, x, shared, weights, gates, chosen, rows, fixed)
    return (y, after), (inputs, shared, weights, gates, chosen, rows, fixed)


def _backward(plan: _Plan, saved: tuple, cts: tuple[Array, Array]):
    inputs, shared, weights, gates, chosen, rows, fixed = saved
    longest = max(plan.sizes)

    def layer(carry: tuple[Array, Any], of_layer: tuple[Array, ...]):
        ct, d_shared = carry
        x, weights, gates, chosen, rows = of_layer

        def pull(body: _Body, start: Array, row: Array, gate: Array):
            def output(x: Array, shared: Any, own: Array) -> Array:
                return body(Inputs(x, shared, fixed), own, row)[0]

            size = _size(body.weights)
            y, back = jax.vjp(output, x, shared, lax.dynamic_slice(weights, (start,), (size,)))
            d_x, d_shared, d_own = back(gate * ct)
            return jnp.sum(ct * y), d_x, d_shared, jnp.pad(d_own, (0, longest - size))

        def nothing(start: Array, row: Array, gate: Array):
            return jnp.zeros(()), jnp.zeros_like(x), jax.tree.map(jnp.zeros_like, shared), jnp.zeros(longest)

        pulls = [functools.partial(pull, body) for body in plan.bodies]

        def path(carry, of_path: tuple[Array, Array]):
            d_x, d_shared, d_weights = carry
            gate, option = of_path
            start = _of(plan.starts, option)
            d_gate, dx, ds, d_own = lax.switch(
                _of(plan.body, option, len(pulls)), [*pulls, nothing], start, rows[option], gate
            )
            held = lax.dynamic_slice(d_weights, (start,), (longest,))
            d_weights = lax.dynamic_update_slice(d_weights, held + d_own, (start,))
            return (d_x + dx, jax.tree.map(jnp.add, d_shared, ds), d_weights), d_gate

        begin = jnp.zeros_like(x), d_shared, jnp.zeros(len(weights) + longest)
        (d_x, d_shared, d_weights), d_gates = lax.scan(path, begin, (gates, chosen))
        return (d_x, d_shared), (d_weights[: len(weights)], d_gates)

    begin = cts[0], jax.tree.map(jnp.zeros_like, shared)
    backwards = jax.tree.map(lambda leaf: leaf[::-1], (inputs, weights, gates, chosen, rows))
    (d_x, d_shared), found = _scan_layers(layer, begin, backwards)
    d_weights, d_gates = jax.tree.map(lambda leaf: leaf[::-1], found)
    return d_x, d_shared, d_weights, d_gates, None, None, None


_chain.defvjp(_forward, _backward)


def _of(table: Sequence[int], option: Array, otherwise: int = 0) -> Int[Array, ""]:
    """The option's entry; `otherwise` for the option past the last."""
    return jnp.asarray([*table, otherwise], jnp.int32)[option]


def _size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _flat(leaves: Sequence[Array], least: int = 0) -> Float[Array, " size"]:
    """All leaves in one vector, zeros after them up to `least`."""
    missing = least - sum(leaf.size for leaf in leaves)
    return jnp.concatenate([*(jnp.ravel(leaf) for leaf in leaves), jnp.zeros(max(missing, 0))])


def _named(vector: Float[Array, " size"], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """The inverse of `_flat`."""
    named, start = {}, 0
    for name, shape in shapes.items():
        end = start + math.prod(shape)
        named[name] = vector[start:end].reshape(shape)
        start = end
    return named
