"""Bias correction (Liu et al. 2021): what quantisation adds to a product on average is taken off again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.compress.calibration import Form, Images, runner
from dnas.compress.scales import Steps
from dnas.graph import graph_of
from dnas.graph.parts import Node
from dnas.maths.quantize import whole
from dnas.nn.supernet import Variables
from dnas.ops.tensor import CHANNELS, HEADS
from dnas.space.space import Space


def corrected(
    space: Space, variables: Variables, images: Images, steps: Mapping[str, Steps], bits: Mapping[str, int],
    progress: Callable[[int], None],
) -> tuple[Variables, list[str]]:  # fmt: skip
    """The variables with E[O^ - O] of every output channel, over all images, taken off the operator's bias, or added to
    the mean of the batch norm that alone reads its result; and the paths of the operators that have neither."""
    places = {node.path: _place(space, node) for node in graph_of(space).nodes if node.path in steps}
    axes = {path: found[1] for path, found in places.items() if found is not None}
    means = _shifts(space, variables, images, steps, bits, axes, progress)
    groups = {group: dict(values) for group, values in variables.items()}
    for path, shift in means.items():
        found = places[path]
        assert found is not None
        (group, name, sign), _ = found
        groups[group][name] = groups[group][name] + sign * jnp.asarray(shift, jnp.float32)
    return groups, [path for path, found in places.items() if found is None]


def _place(space: Space, node: Node) -> tuple[tuple[str, str, int], int] | None:
    """(group, name and sign of what is corrected), and the axis of the output's channels."""
    axis = next((n for n, name in enumerate(node.output.names, 1) if name == CHANNELS), None)
    if axis is None:
        axis = next((n for n, name in enumerate(node.output.names, 1) if name == HEADS), 1)
    if f"{node.path}.bias" in node.parameters:
        return ("params", f"{node.path}.bias", -1), axis
    readers = [other for other in graph_of(space).nodes if node.output in other.inputs and not other.idle]
    if len(readers) == 1 and node.output is not graph_of(space).output:
        subtracted = readers[0].operator.subtracted
        return None if subtracted is None else (("batch_stats", f"{readers[0].path}.{subtracted}", 1), axis)
    return None


def _shifts(
    space: Space, variables: Variables, images: Images, steps: Mapping[str, Steps], bits: Mapping[str, int],
    axes: Mapping[str, int], progress: Callable[[int], None],
) -> dict[str, np.ndarray]:  # fmt: skip
    """E[O^ - O] by path, each product on the numbers of the network in float32."""
    run = runner(space, images.preprocessing)

    @jax.jit
    def of_batch(variables: Variables, batch: Array, shares: Array, steps: Any) -> dict[str, Array]:
        found = {}

        def note(path: str, form: Form, *both: Array) -> Array:
            y = form(*both)
            if path in axes:
                rounded = form(*(whole(v, s, bits[path]) * s for v, s in zip(both, steps[path], strict=True)))
                others = tuple(n for n in range(1, y.ndim) if n != axes[path])
                found[path] = shares @ jnp.mean(rounded - y, axis=others)
            return y

        run(variables, batch, note)
        return found

    total: dict[str, np.ndarray] = {}
    side = space.resolution.value
    for n, (batch, shares) in enumerate(zip(images.batches(side), images.shares(side), strict=True), 1):
        for path, shift in jax.device_get(of_batch(variables, batch, shares, dict(steps))).items():
            total[path] = total.get(path, 0) + np.asarray(shift, np.float64)
        progress(n)
    return total
