"""From uint8 images to the network's float32 input, and the record of how, so that a network can be fed the same again.

Resizing is two matrix products with weights computed beforehand, so it runs inside a compiled step on any device.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.data.dataset import Dataset
from dnas.errors import InputError, suggestion

INTERPOLATIONS = ("bilinear", "nearest")
MAX_SIDE = 4096


@dataclass(frozen=True)
class Preprocessing:
    """What `prepare` does; hashable, so it can be a static argument. Written into the architecture's JSON.

    The order is: times `scale`, resize to `side`, repeat one channel to `channels`, subtract `mean`, divide by `std`.
    'bilinear' has half-pixel centres and averages when it shrinks; 'nearest' takes pixel floor(i * old / new).
    """

    side: int
    channels: int
    mean: tuple[float, ...]
    """One value a channel, in units of scaled values (0 to 1)."""
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    scale: float = 1 / 255

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` gives an equal object back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_json(data: Any, where: str = "preprocessing") -> Preprocessing:
        """Check decoded JSON; `where` begins every message.

        Raises:
            InputError: not an object, an unknown or missing field, or a value out of its domain.
        """
        names = [field.name for field in fields(Preprocessing)]
        if not isinstance(data, dict):
            raise InputError(where, "not an object", found=data, accepted=f"an object of {', '.join(names)}")
        for name in data:
            if name not in names:
                raise InputError(where, f"unknown field '{name}'{suggestion(str(name), names)}")
        for name in names:
            if name not in data:
                raise InputError(where, f"field '{name}' is missing")
        side = _integer(f"{where}.side", data["side"], MAX_SIDE)
        channels = _integer(f"{where}.channels", data["channels"], 16)
        mean = _numbers(f"{where}.mean", data["mean"], channels, positive=False)
        std = _numbers(f"{where}.std", data["std"], channels, positive=True)
        if data["interpolation"] not in INTERPOLATIONS:
            accepted = ", ".join(INTERPOLATIONS)
            raise InputError(f"{where}.interpolation", "unknown", found=data["interpolation"], accepted=accepted)
        (scale,) = _numbers(f"{where}.scale", [data["scale"]], 1, positive=True)
        return Preprocessing(side, channels, mean, std, data["interpolation"], scale)


def preprocessing_for(
    dataset: Dataset, side: int | None = None, channels: int | None = None, interpolation: str = "bilinear"
) -> Preprocessing:
    """The preprocessing of a data set: its own side and channels unless asked otherwise, its training statistics.

    Raises:
        InputError: values out of range, or channels that the data cannot be brought to.
    """
    channels = dataset.channels if channels is None else channels
    _check_channels(dataset.channels, channels)
    mean, std = statistics(dataset.train_images)
    if dataset.channels == 1:
        mean, std = mean * channels, std * channels
    made = Preprocessing(dataset.side if side is None else side, channels, mean, std, interpolation)
    return Preprocessing.from_json(made.to_json())


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images [N, H, W, C], of values scaled to [0, 1].

    Computed from histograms in exact integers and rounded to six digits: the same on every machine. A channel that
    never varies gets a deviation of 1.
    """
    mean, std = [], []
    for channel in range(images.shape[3]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), 1024):
            counts += np.bincount(images[start : start + 1024, ..., channel].ravel(), minlength=256)
        n = int(counts.sum())
        total = sum(v * int(c) for v, c in enumerate(counts))
        squares = sum(v * v * int(c) for v, c in enumerate(counts))
        mean.append(round(total / n / 255, 6))
        std.append(round(math.sqrt(n * squares - total * total) / n / 255, 6) or 1.0)
    return tuple(mean), tuple(std)


def prepare(images: jax.Array | np.ndarray, preprocessing: Preprocessing) -> jax.Array:
    """uint8 [N, H, W, C] -> float32 [N, S, S, channels]. Pure; `preprocessing` is static under `jit`.

    Raises:
        InputError: the images' channels are neither 1 nor those of the preprocessing.
    """
    p = preprocessing
    _, height, width, channels = images.shape
    _check_channels(channels, p.channels)
    x = jnp.asarray(images).astype(jnp.float32) * p.scale
    if (height, width) != (p.side, p.side):
        if p.interpolation == "nearest":
            x = x[:, np.arange(p.side) * height // p.side][:, :, np.arange(p.side) * width // p.side]
        else:
            # highest precision: on an accelerator the default would round pixels to 8 or 11 bits
            dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
            x = dot("oh,nhwc->nowc", jnp.asarray(resize_weights(height, p.side)), x)
            x = dot("pw,nowc->nopc", jnp.asarray(resize_weights(width, p.side)), x)
    x = jnp.broadcast_to(x, (*x.shape[:3], p.channels))
    mean, std = (np.array(v, np.float32).reshape(1, 1, 1, -1) for v in (p.mean, p.std))
    return (x - mean) / std


@functools.lru_cache(maxsize=64)
def resize_weights(old: int, new: int) -> np.ndarray:
    """Bilinear weights, float32 [new, old], rows sum to 1: half-pixel centres, a triangle widened when shrinking."""
    ratio = old / new
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    distance = np.abs(centres[:, None] - np.arange(old)[None]) / max(ratio, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _check_channels(found: int, wanted: int) -> None:
    if found not in (1, wanted):
        raise InputError("channels", f"{found} channels cannot become {wanted}", accepted=f"1 or {wanted}")


def _integer(where: str, value: Any, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise InputError(where, "not an integer in range", found=value, accepted=f"1 to {highest}")
    return value


def _numbers(where: str, values: Any, count: int, positive: bool) -> tuple[float, ...]:
    accepted = f"{count} {'positive' if positive else 'finite'} numbers"
    if not isinstance(values, list | tuple) or len(values) != count:
        raise InputError(where, "not one number a channel", found=values, accepted=accepted)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(where, "not a number", found=value, accepted=accepted)
        if not abs(value) <= 1e30 or (positive and not value >= 1e-30):  # also refuses NaN
            raise InputError(where, "out of range", found=value, accepted=accepted)
    return tuple(float(value) for value in values)
