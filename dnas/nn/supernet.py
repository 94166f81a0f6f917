"""The supernet as a flax module: parameters declared and named, everything else in `dnas.network` and `forward`.

Parameters live in one flat dict whose keys are paths (`trunk.2.0.mbconv.expand.weight`), in a supernet and in a plain
network alike. With `dnas.nn.inherit` they move from one to the other.
"""

from __future__ import annotations

import functools
import math
import zlib
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.errors import InputError
from dnas.network import Feature, Network
from dnas.nn.drops import Drops
from dnas.nn.forward import Forward, Switch
from dnas.nn.gates import Gates, Layout, uniform
from dnas.nn.lookup import Plan, Requests
from dnas.nn.low_memory import LowMemory
from dnas.nn.rows import Blocks, Branches, LeafBlocks, Own, Rows, Shapes, within
from dnas.space.quantity import Quantity
from dnas.space.space import Space

Variables = dict[str, Any]
"""{'params': {path: array}, 'batch_stats': {path: array}}"""
ROWS, ROWS_AFTER = "rows", "rows_after"
"""Groups of what `dnas.nn.packing` hands over in place of parameters of blocks, and of the statistics it gets back."""


class Supernet(nn.Module):
    """Logits of `space` under gates, for images of the largest resolution [N, S, S, C].

    Attributes:
      space: search space or architecture (static; hashed by identity).
      paper_resolution: keep FBNetV2's plain sum over resolution grids.
      resolution_paths: evaluate only that many resolutions, those of the largest gates (None: all).
      paths: run only that many blocks of a choice between whole blocks, those of the largest gates (None: all). Values
        inside such a choice cannot be tapped.
      low_memory: keep of each block its input alone for the backward pass, which runs it again.
      kernels: take depthwise convolutions, norms and gradients of activations by loops that this process alone has
        (`dnas.nn.loops.usable`); not for programs that are exported.
    """

    space: Space
    paper_resolution: bool = False
    resolution_paths: int | None = None
    paths: int | None = None
    low_memory: bool = False
    kernels: bool = False

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "N S S C"],
        gates: Gates,
        *,
        momentum: float | Switch | None = None,
        taps: tuple[str, ...] = (),
        drops: Drops | None = None,
    ) -> tuple[Float[Array, "N classes"], dict[str, Array]]:
        """Logits, and the values at the block paths named in `taps`.

        `momentum` None is evaluation mode; a number is training mode, with that weight on former norm statistics.
        `drops` leaves parts out at random (training alone).
        """
        forward = LowMemory if self.low_memory else Forward
        values = forward(
            _FlaxParameters(self), gates, needs(self.space).plan(gates), momentum, taps=taps,
            paper_resolution=self.paper_resolution, resolution_paths=self.resolution_paths, paths=self.paths,
            kernels=self.kernels, drops=drops,
        )  # fmt: skip
        return _walk(self.space, values, images), values.taps


def _walk(space: Space, values: Forward, images: Array) -> Array:
    x = Feature(images, Quantity.constant(space.channels), space.resolution)
    y = Network(values).walk(space.nodes, x)
    if y.side is not None or not y.channels.is_constant:
        raise InputError(space.source, "the last block must give class scores", accepted="linear: {out: $classes}")
    return y.value


class _FlaxParameters:
    """Parameters and statistics as flax variables of one module."""

    def __init__(self, module: Supernet):
        self.module = module

    def weight(self, path: str, shape: tuple[int, ...], start: float | None = None) -> Array:
        return self.module.param(path, lambda key: jnp.asarray(_drawn(path, shape, start, [0])))

    def statistic(self, path: str, start: float, shape: tuple[int, ...]) -> Array:
        return self.module.variable("batch_stats", path, lambda: jnp.full(shape, start)).value

    def update(self, path: str, value: Array) -> None:
        if not self.module.is_initializing():
            self.module.put_variable("batch_stats", path, value)

    def under(self, path: str) -> Own:
        needed = needs(self.module.space)
        weights = {n: self.weight(n, *needed.weights[n]) for n in needed.weights if within(n, path)}
        statistics = {
            n: self.statistic(n, start, shape) for n, (shape, start) in needed.statistics.items() if within(n, path)
        }
        return Own(weights, statistics)

    def blocks(self, branches: Branches) -> Blocks:
        if self.module.has_variable(ROWS, branches[0][0]):
            return _HandedBlocks(self.module, branches)
        parts = [self.under(path) for layer in branches for path in layer]
        own = Own(*({name: leaf for part in parts for name, leaf in part[n].items()} for n in (0, 1)))
        return LeafBlocks(own, branches, self.update)


class _HandedBlocks(NamedTuple):
    """Blocks whose rows come as a variable, and go as one."""

    module: Supernet
    branches: Branches

    def shapes(self) -> list[Shapes]:
        needed = needs(self.module.space)
        groups = [{name: shape for name, (shape, _) in group.items()} for group in (needed.weights, needed.statistics)]
        return [
            Shapes(*({name: shape for name, shape in group.items() if within(name, path)} for group in groups))
            for path in self.branches[0]
        ]

    def rows(self, chosen: Array) -> Rows:
        return self.module.get_variable(ROWS, self.branches[0][0])

    def ran(self, chosen: Array, statistics: Array) -> None:
        self.module.put_variable(ROWS_AFTER, self.branches[0][0], statistics)


def init(space: Space, key: PRNGKeyArray) -> Variables:
    """Fresh parameters and statistics of a space's supernet, or of an architecture's network.

    Numbers are drawn on the host: hundreds of small draws would each cost a compile.
    """
    needed = needs(space)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    params = {path: _drawn(path, shape, start, seed) for path, (shape, start) in needed.weights.items()}
    stats = {path: np.full(shape, start, np.float32) for path, (shape, start) in needed.statistics.items()}
    return jax.device_put({"params": params, "batch_stats": stats})


def abstract_variables(space: Space) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Shapes of what `init` makes."""
    needed = needs(space)
    groups = {"params": needed.weights, "batch_stats": needed.statistics}
    return {
        group: {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, (shape, _) in leaves.items()}
        for group, leaves in groups.items()
    }


class Needs(NamedTuple):
    """What a space's forward pass asks for: parameters and statistics with shape and start, and values of gates."""

    weights: dict[str, tuple[tuple[int, ...], float | None]]
    statistics: dict[str, tuple[tuple[int, ...], float]]
    plan: Plan


@functools.lru_cache(maxsize=32)
def needs(space: Space) -> Needs:
    """One walk traced for shapes only."""
    side, layout, parameters, requests = space.resolution.max(), Layout(space.choices), _Shapes(), Requests()
    images = jax.ShapeDtypeStruct((1, side, side, space.channels), jnp.float32)
    jax.eval_shape(lambda x: _walk(space, _Sizes(parameters, uniform(layout), requests, None), x), images)
    return Needs(parameters.weights, parameters.statistics, Plan(requests, layout))


class _Sizes(Forward):
    """A forward pass whose spatial operators, the slow part of a trace, give the size of their result alone."""

    def _spatial(self, apply, x: Feature, y: Feature, w: Array, pixelwise: bool = False) -> Array:
        assert y.side is not None
        return jnp.zeros((x.value.shape[0], y.side.max(), y.side.max(), y.width))


class _Shapes:
    """Notes the shape and start of everything asked for."""

    def __init__(self) -> None:
        self.weights: dict[str, tuple[tuple[int, ...], float | None]] = {}
        self.statistics: dict[str, tuple[tuple[int, ...], float]] = {}

    def weight(self, path: str, shape: tuple[int, ...], start: float | None = None) -> Array:
        self.weights[path] = shape, start
        return jnp.zeros(shape)

    def statistic(self, path: str, start: float, shape: tuple[int, ...]) -> Array:
        self.statistics[path] = shape, start
        return jnp.full(shape, start)

    def update(self, path: str, value: Array) -> None:
        pass

    def under(self, path: str) -> Own:
        raise AssertionError("shapes are noted of every branch")

    def blocks(self, branches: Branches) -> Blocks:
        raise AssertionError("shapes are noted of every branch")


def _drawn(path: str, shape: tuple[int, ...], start: float | None, seed: list[int]) -> np.ndarray:
    """A constant, or (`start` None) He-normal weights: variance 2 over the product of all axes but the last.

    Seeded with the path as well, so that a parameter's draw does not depend on what else the network holds.
    """
    if start is not None:
        return np.full(shape, start, np.float32)
    generator = np.random.default_rng([*seed, zlib.crc32(path.encode())])
    return (generator.standard_normal(shape) * (2 / math.prod(shape[:-1])) ** 0.5).astype(np.float32)
