"""Operators by loops of this process on CPU: what takes the place of their own mathematics, by name."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array

from dnas.cpu import activation_loop, norm_loop
from dnas.cpu.activation_loop import LINES
from dnas.cpu.depthwise_loop import FEW_CHANNELS, depthwise, mixed, stem
from dnas.maths.norm import normalised
from dnas.nn.forms import Form, Forms
from dnas.nn.forward import Forward
from dnas.ops import Activation, BatchNorm, Conv, Depthwise
from dnas.ops.conv import biased
from dnas.ops.norm import EPSILON
from dnas.ops.operator import Held, Pass, Segment, options
from dnas.ops.tensor import CHANNELS, ROWS, Tensor, Value
from dnas.ops.windows import mixed_kernel


def _few(op: Conv, x: Tensor) -> bool:
    """Whether a convolution has so few input channels that one depthwise of each is faster."""
    return op.groups == 1 and not op.pixelwise and x[CHANNELS].length <= FEW_CHANNELS


def _conv(op: Conv, env: Forward, held: Held, y: Tensor, x: Value) -> Array:
    if not _few(op, x.tensor):
        return Conv.apply(op, env, held, y, x)
    w, grids = op.masked_kernel(env, held, x.tensor), env.grids(x.tensor, y)
    form = functools.partial(mixed, stem, stride=op.stride, padding=op.zeros.max(), grids=grids)
    return biased(held, env.product(held, form, x.array, w))


def _conv_memory(op: Conv, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
    if not _few(op, x):
        yield from Conv.memory(op, of, y, x)
        return
    # A channel repeated for every one of the result, what that adds, and the sum.
    yield Segment(0, y[CHANNELS].length * x[ROWS].length ** 2 + x.length + 2 * y.length)
    yield op.product_memory(y, x)


def _depthwise(op: Depthwise, env: Forward, held: Held, y: Tensor, x: Value) -> Array:
    w, grids = mixed_kernel(env, held, op.kernel, op.zeros), env.grids(x.tensor, y)
    form = functools.partial(mixed, depthwise, stride=op.stride, padding=op.zeros.max(), grids=grids)
    return biased(held, env.product(held, form, x.array, w))


def _depthwise_memory(op: Depthwise, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
    """Nothing is copied; over grids, the cotangent lies there as it comes and divided by coverage."""
    several = not x[ROWS].size.is_constant
    yield Segment(y.length, y.length * (1 + several) + x.length)


def _batch_norm(op: BatchNorm, env: Forward, held: Held, y: Tensor, x: Value) -> Array:
    scale, shift = op.affine(env, held, x.tensor)
    if env.trains:
        found, *of_batch = norm_loop.batch_normalised(x.array, env.pixels(x.tensor), scale, shift, EPSILON)
        env.moments(held, lambda: (of_batch[0], of_batch[1]))
        return found
    mean, variance = env.moments(held, lambda: norm_loop.moments(x.array, env.pixels(x.tensor)))
    return normalised(x.array, mean, variance, scale, shift, EPSILON)


def _activation(op: Activation, env: Forward, held: Held, y: Tensor, x: Value) -> Array:
    taken = options(op.act)
    if len(taken) == 1 or not set(taken) <= set(LINES):
        return Activation.apply(op, env, held, y, x)
    return activation_loop.mixed(tuple(taken), x.array, jnp.stack([env.mean(share) for share in taken.values()]))


def _activation_memory(op: Activation, of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
    yield Segment(y.length * (1 + ("gelu" in op.act.values())), y.length + x.length)


FORMS: Forms = {
    "conv": Form(_conv, _conv_memory),
    "depthwise": Form(_depthwise, _depthwise_memory),
    "batch_norm": Form(_batch_norm),
    "activation": Form(_activation, _activation_memory),
}
