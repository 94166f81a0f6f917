"""The supernet as a flax module: parameters declared and named, everything else in `dnas.network` and `forward`.

Parameters live in one flat dict whose keys are paths (`trunk.2.0.mbconv.expand.weight`), in a supernet and in a plain
network alike. With `dnas.nn.inherit` they move from one to the other.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.errors import InputError
from dnas.network import Feature, Network
from dnas.nn.forward import Forward, Parameters
from dnas.nn.gates import GateDict
from dnas.space.quantity import Quantity
from dnas.space.space import Space

Variables = dict[str, Any]
"""{'params': {path: array}, 'batch_stats': {path: array}}"""


class Supernet(nn.Module):
    """Logits of `space` under gates, for images of the largest resolution [N, S, S, C].

    Attributes:
      space: search space or architecture (static; hashed by identity).
      paper_resolution: keep FBNetV2's plain sum over resolution grids.
    """

    space: Space
    paper_resolution: bool = False

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "N S S C"],
        gates: GateDict,
        *,
        momentum: Array | float | None = None,
        taps: tuple[str, ...] = (),
    ) -> tuple[Float[Array, "N classes"], dict[str, Array]]:
        """Logits, and the values at the block paths named in `taps`.

        `momentum` None is evaluation mode; a number is training mode, with that weight on former norm statistics.
        """
        return forward(
            self.space, _FlaxParameters(self), images, gates, momentum=momentum, taps=taps,
            paper_resolution=self.paper_resolution,
        )  # fmt: skip


def forward(
    space: Space, parameters: Parameters, images: Array, gates: GateDict, *, momentum: Array | float | None = None,
    taps: tuple[str, ...] = (), paper_resolution: bool = False,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """The walk of `Supernet` over parameters from any source."""
    values = Forward(parameters, gates, momentum, paper_resolution=paper_resolution, taps=taps)
    x = Feature(images, Quantity.constant(space.channels), space.resolution)
    y = Network(values).walk(space.nodes, x)
    if y.side is not None or not y.channels.is_constant:
        raise InputError(space.source, "the last block must give class scores", accepted="linear: {out: $classes}")
    return y.value, values.taps


class _FlaxParameters:
    """Parameters and statistics as flax variables of one module."""

    def __init__(self, module: nn.Module):
        self.module = module

    def weight(self, path: str, shape: tuple[int, ...], start: float | None = None) -> Array:
        return self.module.param(path, lambda key: jnp.asarray(_drawn(path, shape, start, [0])))

    def statistic(self, path: str, start: float, shape: tuple[int, ...]) -> Array:
        return self.module.variable("batch_stats", path, lambda: jnp.full(shape, start)).value

    def update(self, path: str, value: Array) -> None:
        if not self.module.is_initializing():
            self.module.put_variable("batch_stats", path, value)


def init(space: Space, key: PRNGKeyArray) -> Variables:
    """Fresh parameters and statistics of a space's supernet, or of an architecture's network.

    Numbers are drawn on the host: hundreds of small draws would each cost a compile.
    """
    needed = _needed(space)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    params = {path: _drawn(path, shape, start, seed) for path, (shape, start) in needed.weights.items()}
    stats = {path: np.full(shape, start, np.float32) for path, (shape, start) in needed.statistics.items()}
    return jax.tree.map(jnp.asarray, {"params": params, "batch_stats": stats})


def abstract_variables(space: Space) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Shapes of what `init` makes."""
    needed = _needed(space)
    groups = {"params": needed.weights, "batch_stats": needed.statistics}
    return {
        group: {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, (shape, _) in leaves.items()}
        for group, leaves in groups.items()
    }


def _needed(space: Space) -> _Shapes:
    """What the walk asks for, traced for shapes only."""
    side = space.resolution.max()
    gates = {c.name: jnp.full(len(c), 1 / len(c)) for c in space.choices}
    parameters = _Shapes()
    images = jax.ShapeDtypeStruct((1, side, side, space.channels), jnp.float32)
    jax.eval_shape(lambda x: forward(space, parameters, x, gates)[0], images)
    return parameters


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


def _drawn(path: str, shape: tuple[int, ...], start: float | None, seed: list[int]) -> np.ndarray:
    """A constant, or (`start` None) He-normal weights: variance 2 over the product of all axes but the last.

    Seeded with the path as well, so that a parameter's draw does not depend on what else the network holds.
    """
    if start is not None:
        return np.full(shape, start, np.float32)
    generator = np.random.default_rng([*seed, zlib.crc32(path.encode())])
    return (generator.standard_normal(shape) * (2 / math.prod(shape[:-1])) ** 0.5).astype(np.float32)
