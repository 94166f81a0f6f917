"""The supernet as a flax module: the graph of a space, run on parameters that flax holds.

Parameters live in one flat dict whose keys are paths (`trunk.2.0.mbconv.expand.weight`), in a supernet and in a plain
network alike. With `dnas.nn.inherit` they move from one to the other.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from dnas.graph import check_scores, graph_of
from dnas.graph.parts import LayerRun
from dnas.graph.sampled import sampled
from dnas.nn.drops import Drops
from dnas.nn.forms import Forms
from dnas.nn.forward import Forward, Products, Switch
from dnas.nn.gates import Gates, Layout
from dnas.nn.lookup import StackedLookup, requests
from dnas.nn.low_memory import LowMemory
from dnas.nn.parameters import Blocks, LeafBlocks, own_of
from dnas.nn.rows import Rows
from dnas.ops.operator import Parameter
from dnas.ops.tensor import Value
from dnas.process.devices import Parts
from dnas.process.precision import Precision
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
      forms: what takes the place of operators' own mathematics, by their names; not for programs that are exported.
      products: what takes the place of every product of two arrays - convolutions, linear layers, attention.
      parts: images are one of several parts of a batch, of which norms take the statistics.
      precision: of activations and products; parameters, statistics, norms, logits and tapped values are float32.
    """

    space: Space
    paper_resolution: bool = False
    resolution_paths: int | None = None
    paths: int | None = None
    low_memory: bool = False
    forms: Forms | None = None
    products: Products | None = None
    parts: Parts | None = None
    precision: Precision = "float32"

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "N S S C"],
        gates: Gates,
        *,
        momentum: float | Switch | None = None,
        taps: tuple[str, ...] = (),
        drops: Drops | None = None,
    ) -> tuple[Float[Array, "N classes"], dict[str, PyTree[Array]]]:
        """Logits, and the values at the paths of blocks and operators named in `taps`.

        `momentum` None is evaluation mode; a number is training mode, with that weight on former norm statistics.
        `drops` leaves parts out at random (training alone).
        """
        forward, graph = LowMemory if self.low_memory else Forward, sampled(graph_of(self.space), self.paths)
        values = forward(
            _FlaxParameters(self), gates, lookup_of(self.space)(gates), momentum, taps=taps,
            paper_resolution=self.paper_resolution, resolution_paths=self.resolution_paths,
            forms=self.forms, drops=drops, products=self.products, parts=self.parts, precision=self.precision,
        )  # fmt: skip
        y = graph.output
        check_scores(self.space)
        logits = values.run(graph.parts, Value(graph.input, images.astype(self.precision)), y)
        return logits.astype("float32"), jax.tree.map(lambda value: value.astype("float32"), values.taps)


class _FlaxParameters:
    """Parameters and statistics as flax variables of one module."""

    def __init__(self, module: Supernet):
        self.module = module

    def get(self, path: str, parameter: Parameter) -> Array:
        # Operators of several options may share a parameter, which flax makes once.
        if self.module.has_variable("params", path) and not parameter.statistic:
            return self.module.get_variable("params", path)
        if parameter.statistic:
            return self.module.variable("batch_stats", path, lambda: jnp.asarray(_drawn(path, parameter, [0]))).value
        return self.module.param(path, lambda key: jnp.asarray(_drawn(path, parameter, [0])))

    def update(self, path: str, value: Array) -> None:
        if not self.module.is_initializing():
            self.module.put_variable("batch_stats", path, value)

    def blocks(self, run: LayerRun) -> Blocks:
        if self.module.has_variable(ROWS, run.name):
            return _HandedBlocks(self.module, run)
        return LeafBlocks(own_of(self, run.layers), run, self.update)


class _HandedBlocks(NamedTuple):
    """Blocks whose rows come as a variable, and go as one."""

    module: Supernet
    run: LayerRun

    def rows(self, chosen: Array) -> Rows:
        return self.module.get_variable(ROWS, self.run.name)

    def ran(self, chosen: Array, statistics: Array) -> None:
        self.module.put_variable(ROWS_AFTER, self.run.name, statistics)


def init(space: Space, key: PRNGKeyArray) -> Variables:
    """Fresh parameters and statistics of a space's supernet, or of an architecture's network.

    Numbers are drawn on the host: hundreds of small draws would each cost a compile.
    """
    seed = np.asarray(jax.random.key_data(key)).tolist()
    return jax.device_put(
        {
            group: {path: _drawn(path, parameter, seed) for path, parameter in leaves.items()}
            for group, leaves in declared(space).items()
        }
    )


def abstract_variables(space: Space) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Shapes of what `init` makes."""
    return {
        group: {path: jax.ShapeDtypeStruct(parameter.lengths, jnp.float32) for path, parameter in leaves.items()}
        for group, leaves in declared(space).items()
    }


def declared(space: Space) -> dict[str, dict[str, Parameter]]:
    """Parameters and statistics, as the operators of the graph declare them."""
    found: dict[str, dict[str, Parameter]] = {"params": {}, "batch_stats": {}}
    for path, parameter in graph_of(space).parameters.items():
        found["batch_stats" if parameter.statistic else "params"][path] = parameter
    return found


@functools.lru_cache(maxsize=32)
def lookup_of(space: Space) -> StackedLookup:
    """What a forward pass reads from its gates."""
    return StackedLookup(requests(graph_of(space)), Layout(space.choices))


def _drawn(path: str, parameter: Parameter, seed: list[int]) -> np.ndarray:
    """A constant, or normal weights of variance `gain / fan`: He's, where the operator says nothing else.

    Seeded with the path as well, so that a parameter's draw does not depend on what else the network holds.
    """
    shape, start = parameter.lengths, parameter.start
    if start is not None:
        return np.full(shape, start, np.float32)
    generator = np.random.default_rng([*seed, zlib.crc32(path.encode())])
    return (generator.standard_normal(shape) * parameter.deviation).astype(np.float32)
