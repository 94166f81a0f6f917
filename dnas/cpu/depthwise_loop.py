"""Depthwise convolution on grids of pixels, and its gradients, as one loop for CPU.

    y[n, P_r(i), P_r(j), c] += sum over u, v of x[n, T_r(s i + u - p), T_r(s j + v - p), c] * w[r, u, v, c]

T_r and P_r are the rows (and columns) of the input and of the output on which resolution option r lives; one option
that lives on all of them is the ordinary convolution. The sum is linear in x, w and y's cotangent, so the gradient of
either is the same sum with the parts exchanged: for each element of one array, sums of products of the other two. No
option is copied to a map of its own, and none that is not asked for costs anything, though which they are is known at
run time only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from dnas.cpu import loops
from dnas.maths import mixing as maths
from dnas.maths.axes import Map, OtherMap
from dnas.maths.grids import grid_index
from dnas.maths.mixing import Sides
from dnas.maths.norm import batch_sum

Mixing = Callable[..., OtherMap]
"""`depthwise` or `stem`."""


class Lists(NamedTuple):
    """For each option and each target line: which line that is, and the pairs of lines whose products are summed there.

    Lines are offsets in bytes, of rows and, for the same line among columns, of pixels: [..., (row, column)].
    """

    targets: Int[np.ndarray, "R T 2"]
    counts: Int[np.ndarray, "R T"]
    pairs: Int[np.ndarray, "R T M 2 2"]

    @staticmethod
    def of(options: Sequence[np.ndarray], sides: Sequence[int], channels: int) -> Lists:
        """Of each option the triples [n, (target, line of the one array, line of the other)]; the arrays' sides."""
        met: list[dict[int, list[list[int]]]] = [{} for _ in options]
        for own, triples in zip(met, options, strict=True):
            for target, *pair in triples.tolist():
                own.setdefault(target, []).append(pair)
        lines, most = max(map(len, met)), max(len(pairs) for own in met for pairs in own.values())
        targets, counts = np.zeros((2, len(met), lines), np.int32)
        table = np.zeros((len(met), lines, most, 2), np.int32)
        for r, own in enumerate(met):
            targets[r, : len(own)] = list(own)
            for t, pairs in enumerate(own.values()):
                counts[r, t], table[r, t, : len(pairs)] = len(pairs), pairs
        pixel = channels * np.dtype(np.float32).itemsize
        line = np.multiply(sides, pixel).astype(np.int32)
        return Lists(
            np.stack([targets * line[0], targets * pixel], -1), counts,
            np.stack([table * line[1:], table * pixel], -2),
        )  # fmt: skip


class Grids(NamedTuple):
    """Which lines of x, w and y meet on the grid of each option, for each of the three sums."""

    of_y: Lists
    of_x: Lists
    of_w: Lists

    @staticmethod
    def of(sides: Sequence[Sides], channels: int, kernel: int, stride: int, padding: int) -> Grids:
        """Options with sides (a, b) of the input and of the output, on maps of the largest ones."""
        full, out_full = (max(own) for own in zip(*sides, strict=True))
        met = []
        for a, b in sides:
            i, u = (part.ravel() for part in np.meshgrid(np.arange(b), np.arange(kernel), indexing="ij"))
            at = stride * i + u - padding
            i, u, at = (part[(at >= 0) & (at < a)] for part in (i, u, at))
            met.append(np.stack([grid_index(a, full)[at], u, grid_index(b, out_full)[i]], -1))

        def lists(*order: int) -> Lists:
            """Target, one array and the other, by their place in x, w, y."""
            of = (full, kernel, out_full)
            return Lists.of([option[:, order] for option in met], [of[n] for n in order], channels)

        return Grids(lists(2, 0, 1), lists(0, 2, 1), lists(1, 0, 2))


def mixed(
    form: Mixing, x: Map, w: Float[Array, "k k ..."], stride: int, padding: int, grids: maths.Grids | None
) -> OtherMap:
    """The form on each resolution option's own grid, or on the whole map where there is one."""
    if grids is None:
        side = (x.shape[1] + 2 * padding - w.shape[0]) // stride + 1
        return form(x, w[None], [(x.shape[1], side)], stride, padding)
    mix = maths.mix_of(grids)
    return form(x, jnp.multiply.outer(mix.scales, w), mix.pairs, stride, padding, mix.chosen, mix.inverse)


def depthwise(
    x: Map, ws: Float[Array, "P k k C"], sides: Sequence[Sides], stride: int, padding: int,
    chosen: Array | None = None, scale: Float[Array, "B B"] | None = None,
) -> OtherMap:  # fmt: skip
    """One k x k kernel a channel: the sum over options, with sides (a, b) of input and output; or over those `chosen`,
    which `ws` belong to. `scale` multiplies its pixels."""
    grids = Grids.of(sides, x.shape[3], ws.shape[1], stride, padding)
    each = np.sort(np.sum(grids.of_y.counts, 1) ** 2)[-len(ws) :]  # of what can be chosen, the largest
    macs = x.shape[0] * x.shape[3] * int(each.sum())
    options = np.arange(len(sides), dtype=np.int32) if chosen is None else chosen
    return on_grids(x, ws, scale, options, Static(grids, max(b for _, b in sides), macs))


FEW_CHANNELS = 4


def stem(
    x: Map, ws: Float[Array, "P k k I O"], sides: Sequence[Sides], stride: int, padding: int,
    chosen: Array | None = None, scale: Float[Array, "B B"] | None = None,
) -> OtherMap:  # fmt: skip
    """Convolution of up to `FEW_CHANNELS` channels: one `depthwise` of each, repeated for all of the result."""

    def channel(i: int) -> OtherMap:
        repeated = jnp.broadcast_to(x[..., i, None], (*x.shape[:3], ws.shape[-1]))
        return depthwise(repeated, ws[..., i, :], sides, stride, padding, chosen)

    total = functools.reduce(jnp.add, map(channel, range(x.shape[3])))
    return total if scale is None else scaled(total, scale)


class Static(NamedTuple):
    """What is known of a sum when its program is traced."""

    grids: Grids
    out_side: int
    macs: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def on_grids(
    x: Map, w: Float[Array, "P k k C"], scale: Float[Array, "B B"] | None, chosen: Int[ArrayLike, " P"], static: Static
) -> OtherMap:
    """The sum over the chosen options of the convolution on each one's grid, times `scale`; zero where none lives."""
    shape = (x.shape[0], static.out_side, static.out_side, x.shape[3])
    return _sums(shape, x, w, chosen, static.grids.of_y, static, scale)


def _forward(x: Map, w: Array, scale: Array | None, chosen: ArrayLike, static: Static):
    y = on_grids(x, w, scale, chosen, static)
    return y, (x, w, chosen, scale, None if scale is None else y)


def _backward(static: Static, saved: tuple, ct: Map):
    x, w, chosen, scale, y = saved
    ct, d_scale = (ct, None) if scale is None else _scaled_backward((y, scale), ct)
    parts = _sums((min(loops.PARTS, x.shape[0]), *w.shape), x, ct, chosen, static.grids.of_w, static)
    return _sums(x.shape, ct, w, chosen, static.grids.of_x, static), batch_sum(parts), d_scale, None


on_grids.defvjp(_forward, _backward)


def _sums(
    shape: tuple[int, ...], a: Array, b: Array, chosen: ArrayLike, lists: Lists, static: Static,
    scale: Array | None = None,
) -> Array:  # fmt: skip
    """See `dnas.cpu.pixel_products.products`."""
    factors = np.ones(0, np.float32) if scale is None else scale.reshape(-1)
    return loops.call("pixel_products", [shape], a, b, chosen, *lists, factors, macs=static.macs)[0]


@jax.custom_vjp
def scaled(total: Map, scale: Float[Array, "B B"]) -> Map:
    """scale * total, which keeps its result alone."""
    return total * scale[:, :, None]


def _scaled_forward(total: Map, scale: Array):
    y = scaled(total, scale)
    return y, (y, scale)


def _scaled_backward(saved: tuple[Map, Array], ct: Map):
    y, scale = saved
    n, pixels = y.shape[0], scale.size
    d_total, _, met = loops.call(
        "scale_gradient", [y.shape, (n, pixels), (pixels,)], ct, y, scale.reshape(-1), macs=y.size
    )
    # y is the total times the scale; where that is 0, nothing lives, and nothing follows from it.
    return d_total, met.reshape(scale.shape) * jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1), 0)


scaled.defvjp(_scaled_forward, _scaled_backward)
