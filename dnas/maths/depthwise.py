"""Depthwise convolution for CPU: sums of shifted products, with gradients written out.

    y[n, a, b, c] = sum over i, j of x[n, s a + i - p, s b + j - p, c] * w[i, j, c]

XLA on CPU runs a grouped convolution as a naive loop, one to two orders of magnitude slower than loops over channels,
the innermost axis, which it vectorises. `docs/performance.md` has the forms that were tried.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from dnas.maths.axes import Map, OtherMap


def shifted(x: Map, w: Float[Array, "k k C"], stride: int, padding: int) -> OtherMap:
    """One k x k kernel a channel."""
    edge = _unseen(x.shape[1:3], w.shape[0], stride, padding)
    if edge:
        w, padding = w[edge:-edge, edge:-edge], padding - edge
    return _shifted(x, w, stride, padding)


def _unseen(sides: Sequence[int], k: int, stride: int, padding: int) -> int:
    """How many of a kernel's outer rings meet padding alone: on a map of 2 x 2, one of a 5 x 5 kernel."""
    rings = [padding]
    for side in sides:
        last = (side + 2 * padding - k) // stride * stride  # where the last window starts
        rings += [padding - last, k - padding - side]
    return max(0, min(rings))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted(x: Map, w: Array, stride: int, padding: int) -> OtherMap:
    k = w.shape[0]
    height, width = ((side + 2 * padding - k) // stride + 1 for side in x.shape[1:3])
    padded = _padded(x, (padding, padding), (padding, padding))
    return _add([_picked(padded, (i, j), (height, width), stride) * w[i, j] for i in range(k) for j in range(k)])


def _forward(x: Map, w: Array, stride: int, padding: int):
    return _shifted(x, w, stride, padding), (x, w)


def _backward(stride: int, padding: int, saved: tuple[Map, Array], ct: OtherMap):
    x, w = saved
    return input_gradient(ct, w, stride, padding, x.shape), kernel_gradient(x, ct, w.shape[0], stride, padding)


_shifted.defvjp(_forward, _backward)


def input_gradient(ct: Map, w: Array, stride: int, padding: int, shape: tuple[int, ...]) -> OtherMap:
    """Each phase of the strided input is a sum of shifted cotangents; phases are interleaved at the end.

    The cotangent is padded once: padded for each shift, every pixel of every product would be a comparison.
    """
    k = w.shape[0]
    n, height, width, c = shape
    size = -(-height // stride), -(-width // stride)
    # Input pixel s m + a gets the cotangent's pixel m + (a + p - i) / s, for the i that make that whole.
    shifts = [(a + padding - i) // stride for a in range(stride) for i in range(k) if not (a + padding - i) % stride]
    before = max(0, -min(shifts))
    after = [max(0, max(shifts) + rows - side) for rows, side in zip(size, ct.shape[1:3], strict=True)]
    padded = _padded(ct, (before, after[0]), (before, after[1]))

    def taps(phase: int) -> list[tuple[int, int]]:
        """Kernel position and first pixel of the padded cotangent."""
        ahead = phase + padding
        return [(i, (ahead - i) // stride + before) for i in range(k) if not (ahead - i) % stride]

    def phase(a: int, b: int) -> OtherMap:
        terms = [_picked(padded, (up, left), size, 1) * w[i, j] for i, up in taps(a) for j, left in taps(b)]
        return _add(terms) if terms else jnp.zeros((n, *size, c), ct.dtype)

    if stride == 1:
        return phase(0, 0)
    phases = jnp.stack([jnp.stack([phase(a, b) for b in range(stride)], 3) for a in range(stride)], 2)
    return phases.reshape(n, size[0] * stride, size[1] * stride, c)[:, :height, :width]


def kernel_gradient(x: Map, ct: Float[Array, "N _ _ C"], k: int, stride: int, padding: int) -> Float[Array, "k k C"]:
    """d loss / d w[i, j, c] = sum over pixels of tap (i, j) of the input times the cotangent.

    A loop over the images, each of which fits the cache; in it one reduction with k*k results, which reads its operands
    once. Reductions of their own would each read them again, and all of the taps would be there at once.
    """
    out_h, out_w, c = ct.shape[1:]
    bottom = (out_h - 1) * stride + k - x.shape[1] - padding
    right = (out_w - 1) * stride + k - x.shape[2] - padding
    padded = _padded(x, (padding, bottom), (padding, right))

    def add(total: Array, image: tuple[Array, Array]) -> tuple[Array, None]:
        pixels, own = image[0][None], image[1][None]
        taps = [_picked(pixels, (i, j), (out_h, out_w), stride) * own for i in range(k) for j in range(k)]
        sums = lax.reduce(taps, [jnp.zeros((), ct.dtype)] * len(taps), _add_each, (0, 1, 2))
        return total + jnp.stack(sums), None

    return lax.scan(add, jnp.zeros((k * k, c), ct.dtype), (padded, ct))[0].reshape(k, k, c)


def _add_each(a: list[Array], b: list[Array]) -> list[Array]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _picked(x: Map, first: tuple[int, int], size: tuple[int, int], stride: int) -> OtherMap:
    """`size` pixels, `stride` apart, from `first` on."""
    (top, left), (rows, cols), (n, _, _, c) = first, size, x.shape
    stop = (n, top + (rows - 1) * stride + 1, left + (cols - 1) * stride + 1, c)
    return lax.slice(x, (0, top, left, 0), stop, (1, stride, stride, 1))


def _padded(x: Map, rows: tuple[int, int], cols: tuple[int, int]) -> OtherMap:
    """Zeros around the map; a negative number cuts."""
    if not any((*rows, *cols)):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*rows, 0), (*cols, 0), (0, 0, 0)])


def _add(terms: list[Array]) -> Array:
    return functools.reduce(operator.add, terms)
