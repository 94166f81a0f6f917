"""Arithmetic of the network on plain arrays: convolutions, norm statistics, activations, resolution mixing.

Each operation has the form that is fastest on the backend it is lowered for. On CPU XLA's grouped convolution is one
to two orders of magnitude slower than a sum of shifted products, so depthwise convolutions are written as such there,
with a custom gradient; GPU and TPU use the library's convolution.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from dnas.nn.grids import grid_index, grid_source

Map = Float[Array, "N H W C"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hswish": jax.nn.hard_swish,
    "swish": jax.nn.swish,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "hsigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
}


def pointwise(x: Float[Array, "*batch I"], w: Float[Array, "I O"]) -> Float[Array, "*batch O"]:
    """1x1 convolution or linear layer, as one matrix product (the 4-D form has a slow weight gradient on CPU)."""
    return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], w.shape[-1])


def conv(x: Map, w: Float[Array, "k k I O"], stride: int, padding: int, groups: int = 1) -> Map:
    """Convolution with equal padding on all sides."""
    if w.shape[0] == 1 and groups == 1 and padding == 0:
        return pointwise(x[:, ::stride, ::stride] if stride > 1 else x, w[0, 0])
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


def depthwise(x: Map, w: Float[Array, "k k C"], stride: int, padding: int) -> Map:
    """One k x k kernel a channel."""
    return lax.platform_dependent(
        x,
        w,
        cpu=functools.partial(_shifted_depthwise, stride=stride, padding=padding),
        default=lambda x, w: conv(x, w[:, :, None], stride, padding, groups=x.shape[-1]),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted_depthwise(x: Map, w: Array, stride: int, padding: int) -> Map:
    """sum over kernel positions of shifted input times that position's weights."""
    k = w.shape[0]
    n, height, width, c = x.shape
    out_h, out_w = (height + 2 * padding - k) // stride + 1, (width + 2 * padding - k) // stride + 1
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    total = None
    for i in range(k):
        for j in range(k):
            tap = lax.slice(
                padded, (0, i, j, 0), (n, i + (out_h - 1) * stride + 1, j + (out_w - 1) * stride + 1, c),
                (1, stride, stride, 1),
            )  # fmt: skip
            term = tap * w[i, j]
            total = term if total is None else total + term
    return total


def _shifted_forward(x: Map, w: Array, stride: int, padding: int):
    return _shifted_depthwise(x, w, stride, padding), (x, w)


def _shifted_backward(stride: int, padding: int, saved: tuple[Map, Array], ct: Map):
    x, w = saved
    return _input_gradient(ct, w, stride, padding, x.shape), _kernel_gradient(x, ct, w.shape[0], stride, padding)


_shifted_depthwise.defvjp(_shifted_forward, _shifted_backward)


def _input_gradient(ct: Map, w: Array, stride: int, padding: int, shape: tuple[int, ...]) -> Map:
    """Each phase of the strided input is a stride-1 sum of shifted cotangents; phases are interleaved at the end."""
    k = w.shape[0]
    n, height, width, c = shape
    rows, cols = -(-height // stride), -(-width // stride)

    def phase(a: int, b: int) -> Map:
        """Gradient at the input pixels (stride * m + a, stride * l + b)."""
        total = jnp.zeros((n, rows, cols, c), ct.dtype)
        for i in range(k):
            for j in range(k):
                if (a + padding - i) % stride or (b + padding - j) % stride:
                    continue
                up, left = (a + padding - i) // stride, (b + padding - j) // stride
                total = total + _window(ct, up, left, rows, cols) * w[i, j]
        return total

    if stride == 1:
        return phase(0, 0)
    phases = jnp.stack([jnp.stack([phase(a, b) for b in range(stride)], 3) for a in range(stride)], 2)
    return phases.reshape(n, rows * stride, cols * stride, c)[:, :height, :width]


def _window(x: Map, top: int, left: int, rows: int, cols: int) -> Map:
    """x[:, top : top + rows, left : left + cols], zero outside the map."""
    _, height, width, _ = x.shape
    edges = [(0, 0, 0), (-top, top + rows - height, 0), (-left, left + cols - width, 0), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _kernel_gradient(x: Map, ct: Map, k: int, stride: int, padding: int) -> Array:
    """d loss / d w[i, j, c] = sum over pixels of input tap (i, j) times cotangent, one tap a loop step.

    A loop keeps one tap alive at a time; unrolled, XLA materialises all k*k of them.
    """
    n, out_h, out_w, c = ct.shape
    extra_h = (out_h - 1) * stride + k - x.shape[1] - padding
    extra_w = (out_w - 1) * stride + k - x.shape[2] - padding
    padded = lax.pad(
        x, jnp.zeros((), x.dtype), [(0, 0, 0), (padding, extra_h, 0), (padding, extra_w, 0), (0, 0, 0)]
    )

    def tap_gradient(index: Array) -> Array:
        i, j = index // k, index % k
        size = (n, (out_h - 1) * stride + 1, (out_w - 1) * stride + 1, c)
        tap = lax.dynamic_slice(padded, (0, i, j, 0), size)[:, ::stride, ::stride]
        return jnp.sum(tap * ct, axis=(0, 1, 2))

    return lax.map(tap_gradient, jnp.arange(k * k)).reshape(k, k, c)


def mix_grids(
    apply: Callable[[Map], Map], x: Map, gate: Float[Array, "options"], sides: Sequence[tuple[int, int]],
    full: int, out_full: int, paths: int | None = None,
) -> Map:  # fmt: skip
    """sum_r g_r U_r(F(S_r(x))): FBNetV2's resolution masking (section 3.2).

    S_r takes the pixels of option r's grid, U_r puts F's result onto the same grid of the output, zeros elsewhere.
    `sides` are each option's (input side, output side); equal pairs share one evaluation. With `paths`, only that
    many options, those of the largest gates, are evaluated, in one batch on maps of the full side.
    """
    if paths is not None and paths < len(set(sides)):
        return _mix_sampled(apply, x, gate, sides, full, out_full, paths)
    total = None
    for pair in dict.fromkeys(sides):
        weight = sum(gate[n] for n, other in enumerate(sides) if other == pair)
        part = _place(apply(_take(x, pair[0], full)), out_full) * weight
        total = part if total is None else total + part
    return total


def _mix_sampled(apply, x: Map, gate: Array, sides: Sequence[tuple[int, int]], full: int, out_full: int, paths: int):
    weights, chosen = lax.top_k(gate, paths)
    into = jnp.asarray(np.stack([_padded(grid_index(a, full), full, full) for a, _ in sides]))[chosen]
    back = jnp.asarray(np.stack([grid_source(a, full) for a, _ in sides]))[chosen]
    out_into = jnp.asarray(np.stack([_padded(grid_index(b, out_full), out_full, out_full) for _, b in sides]))[chosen]
    # Rows past an option's own side are computed too, and dropped here: no pixel of the output asks for them.
    out_back = np.stack([np.where((s := grid_source(b, out_full)) < b, s, out_full) for _, b in sides])
    out_back = jnp.asarray(out_back)[chosen]
    back = jnp.where(back >= jnp.asarray([a for a, _ in sides])[chosen][:, None], full, back)
    maps = jnp.concatenate([regrid(x, into[n], back[n]) for n in range(paths)])
    results = jnp.split(apply(maps), paths)
    return sum(w * regrid(y, out_back[n], out_into[n]) for n, (w, y) in enumerate(zip(weights, results, strict=True)))


def _padded(index: np.ndarray, length: int, fill: int) -> np.ndarray:
    return np.concatenate([index, np.full(length - len(index), fill)])


@jax.custom_vjp
def regrid(x: Map, source: Int[Array, "rows"], target: Int[Array, "H"]) -> Map:
    """y[:, i, j] = x[:, source[i], source[j]], zero where an index is past the map.

    `target` is the inverse index: the gradient is the same gather the other way round, where the gradient of a plain
    gather would be a scatter.
    """
    y = jnp.take(x, source, axis=1, mode="fill", fill_value=0)
    # The barrier keeps XLA from repeating the gather in every tap of the convolution that reads it.
    return lax.optimization_barrier(jnp.take(y, source, axis=2, mode="fill", fill_value=0))


def _regrid_forward(x: Map, source: Array, target: Array):
    return regrid(x, source, target), (source, target)


def _regrid_backward(saved: tuple[Array, Array], ct: Map):
    source, target = saved
    return regrid(ct, target, source), None, None


regrid.defvjp(_regrid_forward, _regrid_backward)


def _take(x: Map, side: int, full: int) -> Map:
    """The pixels of the grid of side `side`: by strides where the ratio is an integer, else by index."""
    if side == full:
        return x
    if full % side == 0:
        return x[:, :: full // side, :: full // side]
    return regrid(x, jnp.asarray(grid_index(side, full)), jnp.asarray(grid_source(side, full)))


def _place(x: Map, full: int) -> Map:
    """The map of side `full` that holds x on its grid and zeros elsewhere."""
    side = x.shape[1]
    if side == full:
        return x
    if full % side == 0:
        gap = full // side - 1
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, gap, gap), (0, gap, gap), (0, 0, 0)])
    return regrid(x, jnp.asarray(grid_source(side, full)), jnp.asarray(grid_index(side, full)))


def moments(x: Float[Array, "*batch C"], weights: Float[Array, "H W"] | None) -> tuple[Array, Array]:
    """Mean and variance a channel over all other axes; `weights` (adding up to 1) weigh the pixels of a map."""
    axes = tuple(range(x.ndim - 1))
    if weights is None:
        mean = jnp.mean(x, axes)
        # A shift by the mean before squaring: mean of squares minus squared mean cancels where |mean| >> std.
        return mean, jnp.mean(jnp.square(x - mean), axes)
    w = (weights / x.shape[0])[None, :, :, None]
    mean = jnp.sum(x * w, axes)
    return mean, jnp.sum(jnp.square(x - mean) * w, axes)


def spatial_mean(x: Map, weights: Float[Array, "H W"] | None) -> Float[Array, "N C"]:
    """Mean over the map, or over the pixels of the chosen grids."""
    if weights is None:
        return jnp.mean(x, (1, 2))
    return jnp.einsum("nhwc,hw->nc", x, weights)
