"""A quantised network as integer kernels have it, number for number.

A kernel adds its bias in 32 bits, as a whole number of steps of the sum, before it rounds the result; where the norm
that is folded into weights turns their sign, the least whole number has no opposite; and what lies halfway between two
may be rounded to either. The simulation would differ there, which every later layer would show.
"""

from __future__ import annotations

import numpy as np

from dnas.export.onnx_writers import WRITERS, folded
from dnas.export.trace import Op, trace, weights_of
from dnas.graph import graph_of
from dnas.nn.supernet import Variables
from dnas.ops.operator import WEIGHT
from dnas.space.quantized import FIRST, SECOND
from dnas.space.space import Space


def as_integers(space: Space, variables: Variables) -> Variables:
    """The variables of a quantised network with weights on their grids, and with such biases, or means of batch norms
    in their place, wherever a quantised result or the network's own follows."""
    host = {group: {name: np.asarray(value) for name, value in values.items()} for group, values in variables.items()}
    last = graph_of(space).nodes[-1].output
    for op, after in folded(trace(space).ops, trace(space).outputs):
        how, end = op.node.quantized, (op, *after)[-1]
        if how is None or how.bits is None:
            continue
        if op.node.operator.second == WEIGHT:
            _weights(host, op, after, 2 ** (how.bits - 1))
        if end.result_bits is not None or end.node.output is last:
            _bias(host, op, after)
    return host


def _factors(host: Variables, after: tuple[Op, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Factor and shift of everything that is folded into an operator."""
    affine = (WRITERS[one.kind].affine for one in after)
    return [of(one, weights_of(host)) for of, one in zip(affine, after, strict=True) if of is not None]


def _weights(host: Variables, op: Op, after: tuple[Op, ...], half: int) -> None:
    """On the grid, without its least number in channels whose sign is turned."""
    name, step = f"{op.node.path}.{WEIGHT}", host["batch_stats"][f"{op.node.path}.{SECOND}"]
    factor = np.prod([own for own, _ in _factors(host, after)], axis=0)
    least = np.where(factor < 0, 1 - half, -half)
    host["params"][name] = (np.clip(np.rint(host["params"][name] / step), least, half - 1) * step).astype(np.float32)


def _bias(host: Variables, op: Op, after: tuple[Op, ...]) -> None:
    """Moves the chain's first bias, or mean, by what the folded bias lacks to a whole number of steps."""
    path, pairs = op.node.path, _factors(host, after)
    factor = np.prod([own for own, _ in pairs], axis=0)
    bias = op.leaf("bias", weights_of(host)).astype(np.float64) if "bias" in op.shapes else np.zeros(())
    for own, shift in pairs:
        bias = bias * own + shift
    steps = host["batch_stats"]
    grid = steps[f"{path}.{FIRST}"].astype(np.float64) * steps[f"{path}.{SECOND}"] * np.abs(factor)
    usable = grid > 0
    lacks = np.where(usable, np.round(bias / np.where(usable, grid, 1)) * grid - bias, 0) / np.where(usable, factor, 1)
    if "bias" in op.shapes:
        host["params"][f"{path}.bias"] = (host["params"][f"{path}.bias"] + lacks).astype(np.float32)
    elif after and after[0].node.operator.subtracted is not None:
        name = f"{after[0].node.path}.{after[0].node.operator.subtracted}"
        steps[name] = (steps[name] - lacks).astype(np.float32)
