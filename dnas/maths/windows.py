"""Windows of maps (Swin, Liu et al. 2021)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.maths.axes import Map, OtherMap
from dnas.maths.conv import conv

APART = -100.0
"""Added to scores of pixels that do not see each other, as the release does."""


def partition(x: Map, window: int, shift: int) -> Float[Array, "N windows pixels C"]:
    """Windows row after row, as the pixels within each are; the map is enlarged by zeros to whole ones, then moved."""
    n, side, _, c = x.shape
    across = -(-side // window)
    missing = across * window - side
    x = jnp.pad(x, ((0, 0), (0, missing), (0, missing), (0, 0))) if missing else x
    x = jnp.roll(x, (-shift, -shift), (1, 2)) if shift else x
    cut = x.reshape(n, across, window, across, window, c)
    return cut.swapaxes(2, 3).reshape(n, across**2, window**2, c)


def merge(x: Float[Array, "N windows pixels C"], side: int, shift: int) -> Map:
    """The map of which these are the windows."""
    n, windows, pixels, c = x.shape
    across, window = round(windows**0.5), round(pixels**0.5)
    whole = x.reshape(n, across, across, window, window, c).swapaxes(2, 3).reshape(n, *[across * window] * 2, c)
    whole = jnp.roll(whole, (shift, shift), (1, 2)) if shift else whole
    return whole[:, :side, :side]


def bias(table: Float[Array, "distances heads"], window: int) -> Float[Array, "heads Q K"]:
    """table[(dy + w - 1) (2 w - 1) + dx + w - 1] for dy and dx of query minus key.

    Products with one-hot matrices and not an index: the gradient of an index is a serial scatter on CPU.
    """
    count = 2 * window - 1
    place = np.arange(window)
    picks = jnp.asarray((place[:, None, None] - place[None, :, None] + window - 1 == np.arange(count)), table.dtype)
    spread = jnp.einsum("abh,yYa,xXb->hyxYX", table.reshape(count, count, -1), picks, picks, precision="highest")
    return spread.reshape(-1, window**2, window**2)


def regions(side: int, window: int, shift: int) -> np.ndarray:
    """[windows, pixels]: which part of the moved map a pixel comes from; parts were no neighbours before."""
    whole = -(-side // window) * window
    band = np.searchsorted([whole - window, whole - shift], np.arange(whole), side="right")
    part = 3 * band[:, None] + band[None, :]
    across = whole // window
    return part.reshape(across, window, across, window).swapaxes(1, 2).reshape(across**2, window**2)


def apart(
    scores: Float[Array, "N windows heads Q K"], side: int, window: int, shift: int
) -> Float[Array, "N windows heads Q K"]:
    """Scores of pixels from different parts of a moved map, made so small that softmax makes nothing of them."""
    part = regions(side, window, shift)
    mask = np.where(part[:, :, None] == part[:, None, :], 0.0, APART)[:, None]
    return scores + jnp.asarray(mask, scores.dtype)


def space_to_depth(x: Map) -> OtherMap:
    """Pixels (0, 0), (1, 0), (0, 1), (1, 1) of each 2 x 2 as channels, (row, column)."""
    n, side, _, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, side % 2), (0, side % 2), (0, 0))) if side % 2 else x
    half = x.shape[1] // 2
    cut = x.reshape(n, half, 2, half, 2, c)
    return cut.transpose(0, 1, 3, 4, 2, 5).reshape(n, half, half, 4 * c)


def conv_in_patches(
    x: Map, w: Float[Array, "k k C O"], patch: int, stride: int, padding: int
) -> Float[Array, "N patches words O"]:
    """A convolution within each patch of a map, zeros around each patch."""
    n, channels = x.shape[0], x.shape[-1]
    cut = partition(x, patch, 0).reshape(-1, patch, patch, channels)
    y = conv(cut, w, stride, padding)
    return y.reshape(n, -1, y.shape[1] * y.shape[2], y.shape[3])
