"""RandAugment (Cubuk et al. 2020) on the host, in numpy: a few random operations of random strength for each image.

Operations are those of the increasing set (a larger strength changes more), each on uint8 images [N, H, W, C] with a
level [N] from 0 to 1 and a sign [N] of -1 or 1. Images that share an operation go through it together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dnas.data.shuffle import AUGMENT, uniforms

FILL = 128
"""Value of pixels that come from outside the image."""
Operation = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def rand_augment(
    images: np.ndarray, layers: int, magnitude: float, spread: float, probability: float, seed: int, number: int,
    rows: np.ndarray | None = None, size: int | None = None,
) -> np.ndarray:  # fmt: skip
    """uint8 [N, H, W, C] after `layers` operations each; the same (seed, number) gives the same result everywhere.

    `magnitude` (0 to 10) is the mean strength, `spread` its standard deviation; each operation is applied with
    `probability`. Where the images are `rows` of a batch of `size`, each gets what it gets in the whole batch.
    """
    images = images.copy()
    count = size or len(images)
    drawn = uniforms(layers * 5 * count, seed, AUGMENT, number).reshape(layers, 5, count)
    drawn = drawn if rows is None else drawn[..., rows]
    for pick, applied, sign, u, v in drawn:
        normal = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
        level = np.clip(magnitude + spread * normal, 0, 10) / 10
        which = np.minimum((pick * len(OPERATIONS)).astype(int), len(OPERATIONS) - 1)
        for index, operation in enumerate(OPERATIONS.values()):
            chosen = np.flatnonzero((which == index) & (applied < probability))
            if len(chosen):
                signs = np.where(sign[chosen] < 0.5, -1.0, 1.0)
                images[chosen] = operation(images[chosen], level[chosen], signs)
    return images


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def autocontrast(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Each channel stretched to 0..255."""
    low, high = (f(x, axis=(1, 2), keepdims=True).astype(np.float32) for f in (np.min, np.max))
    scale = np.where(high > low, 255 / np.maximum(high - low, 1), 1)
    return _uint8(np.where(high > low, (x - low) * scale, x))


def equalize(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Each channel's values spread to an even histogram."""
    n, height, width, channels = x.shape
    planes = np.moveaxis(x, 3, 1).reshape(n * channels, height * width)
    flat = planes + 256 * np.arange(len(planes))[:, None]
    counts = np.bincount(flat.reshape(-1), minlength=256 * len(planes)).reshape(-1, 256)
    last = counts[np.arange(len(planes)), 255 - np.argmax(counts[:, ::-1] > 0, 1)]
    step = (counts.sum(1) - last) // 255
    before = np.cumsum(counts, 1) - counts
    table = np.minimum((step[:, None] // 2 + before) // np.maximum(step, 1)[:, None], 255)
    table = np.where(step[:, None] > 0, table, np.arange(256)).astype(np.uint8)
    result = np.take_along_axis(table, planes.astype(np.int64), 1)
    return np.moveaxis(result.reshape(n, channels, height, width), 1, 3)


def invert(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """255 - x."""
    return 255 - x


def posterize(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """The lowest 4 to 8 bits cleared: at level 1 nothing is left but black."""
    cleared = 4 + np.floor(4 * level).astype(np.int64)
    return x & (0xFF << cleared & 0xFF).astype(np.uint8).reshape(-1, 1, 1, 1)


def solarize(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Values from a threshold on inverted."""
    return np.where(x >= 256 - np.floor(256 * _column(level)), 255 - x, x)


def solarize_add(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Up to 110 added to values below 128."""
    raised = np.minimum(x + np.floor(110 * _column(level)), 255)
    return np.where(x < 128, raised, x).astype(np.uint8)


def _enhanced(x: np.ndarray, plain: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """plain + factor (x - plain), with a factor of 1 +- 0.9 level."""
    return _uint8(plain + (1 + 0.9 * _column(level) * _column(sign)) * (x - plain))


def _grey(x: np.ndarray) -> np.ndarray:
    """Luma of RGB images; the mean of any other number of channels."""
    weights = np.array([0.299, 0.587, 0.114]) if x.shape[3] == 3 else np.full(x.shape[3], 1 / x.shape[3])
    return (x @ weights.astype(np.float32))[..., None]


def color(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Away from, or towards, grey."""
    return _enhanced(x, _grey(x), level, sign)


def contrast(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Away from, or towards, the mean grey."""
    return _enhanced(x, _grey(x).mean((1, 2, 3), keepdims=True), level, sign)


def brightness(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Away from, or towards, black."""
    return _enhanced(x, np.zeros((1, 1, 1, 1), np.float32), level, sign)


def sharpness(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Away from, or towards, a 3x3 smoothing with a centre of 5; the border stays."""
    values = x.astype(np.float32)
    smooth = values.copy()
    if min(x.shape[1:3]) >= 3:
        total = sum(values[:, i : i + x.shape[1] - 2, j : j + x.shape[2] - 2] for i in range(3) for j in range(3))
        smooth[:, 1:-1, 1:-1] = (total + 4 * values[:, 1:-1, 1:-1]) / 13
    return _enhanced(values, smooth, level, sign)


def _warped(x: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Bilinear values at matrix @ (row, column) + shift about the centre; `FILL` outside. matrix [N, 2, 2]."""
    n, height, width, channels = x.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1) - middle
    places = np.einsum("nij,hwj->nhwi", matrix, grid) + middle + shift[:, None, None, :]
    low = np.floor(places)
    part = (places - low)[..., None].astype(np.float32)
    low = low.astype(np.int64)
    padded = np.full((n, height + 2, width + 2, channels), FILL, np.float32)
    padded[:, 1:-1, 1:-1] = x
    total = np.zeros(x.shape, np.float32)
    image = np.arange(n)[:, None, None]
    for i in (0, 1):
        for j in (0, 1):
            row = np.clip(low[..., 0] + i + 1, 0, height + 1)
            column = np.clip(low[..., 1] + j + 1, 0, width + 1)
            weight = np.abs(1 - i - part[..., 0, :]) * np.abs(1 - j - part[..., 1, :])
            total += weight * padded[image, row, column]
    return _uint8(total)


def _affine(x: np.ndarray, a, b, c, d, rows=0.0, columns=0.0) -> np.ndarray:
    parts = [np.broadcast_to(np.asarray(v, np.float64), (len(x),)) for v in (a, b, c, d, rows, columns)]
    return _warped(x, np.stack(parts[:4], -1).reshape(-1, 2, 2), np.stack(parts[4:], -1))


def rotate(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """By up to 30 degrees."""
    angle = np.deg2rad(30 * level * sign)
    return _affine(x, np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))


def shear_x(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Rows slide along by up to 0.3 of their height."""
    return _affine(x, 1, 0, 0.3 * level * sign, 1)


def shear_y(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Columns slide along by up to 0.3 of their place in the row."""
    return _affine(x, 1, 0.3 * level * sign, 0, 1)


def translate_x(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """By up to 0.45 of the width."""
    return _affine(x, 1, 0, 0, 1, columns=0.45 * level * sign * x.shape[2])


def translate_y(x: np.ndarray, level: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """By up to 0.45 of the height."""
    return _affine(x, 1, 0, 0, 1, rows=0.45 * level * sign * x.shape[1])


OPERATIONS: dict[str, Operation] = {
    f.__name__: f
    for f in (
        autocontrast, equalize, invert, rotate, posterize, solarize, solarize_add, color, contrast, brightness,
        sharpness, shear_x, shear_y, translate_x, translate_y,
    )
}  # fmt: skip
