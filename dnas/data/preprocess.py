"""From uint8 images to the network's float32 input, and the record of how, so that a network can be fed the same again.

Pictures are decoded by `dnas.data.picture` at the side recorded here; the record says in full what it does. Arrays of
another side are resized by two matrix products with weights computed beforehand, inside a compiled step on any device.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.data.dataset import Dataset, Images
from dnas.data.image_side import MAX_SIDE
from dnas.data.stream.images import Streamed, soon
from dnas.errors import InputError, suggestion
from dnas.maths.grids import grid_index

INTERPOLATIONS = ("bilinear", "nearest")


COLOURS = {1: "L", 3: "RGB"}
"""Channels -> Pillow's mode of the pictures that have as many."""
WHITE = [255, 255, 255]
LAYOUTS = ("NHWC", "NCHW")
CHUNK_BYTES = 1 << 24
"""Of images whose values are counted together."""
SAMPLED = 8192
"""Images on disk that tell mean and deviation of all."""
REQUIRED = ("side", "channels", "mean", "std", "interpolation", "scale")


@dataclass(frozen=True)
class Preprocessing:
    """What `prepare` does; hashable, so it can be a static argument. Written into the architecture's JSON.

    The order is: times `scale`, resize to `side`, repeat one channel to `channels`, take the rows and columns of
    `grid`, subtract `mean`, divide by `std`. 'bilinear' has half-pixel centres and averages when it shrinks; 'nearest'
    takes pixel floor(i * old / new). A picture comes decoded at `side`: nothing is left to resize.
    """

    side: int
    channels: int
    mean: tuple[float, ...]
    """One value a channel, in units of scaled values (0 to 1)."""
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    scale: float = 1 / 255
    grid: int | None = None
    """Side of the network's own input where that is smaller: it takes the rows and columns floor(i * side / grid).

    That is what an option of a smaller resolution saw in the search (FBNetV2, Wan et al. 2020, section 3.2).
    """

    def taken_at(self, side: int) -> Preprocessing:
        """The same for a network whose own input has this side."""
        return replace(self, grid=None if side == self.side else side)

    def to_json(self, layout: str = "NHWC") -> dict[str, Any]:
        """Plain JSON values; `from_json` gives an equal object back.

        Written in the order in which it is done, and in full: another program needs nothing else. What `dnas` itself
        needs of it are the fields `REQUIRED` and the side of `subgrid`.
        """
        return {
            **self._picture(),
            **({"subgrid": self._subgrid()} if self.grid is not None else {}),
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": layout,
            "side": self.side,
            "channels": self.channels,
            "interpolation": self.interpolation,
        }

    def _picture(self) -> dict[str, Any]:
        """How `dnas.data.picture.read_picture` decodes; nothing where no picture has as many channels."""
        if self.channels not in COLOURS:
            return {}
        side = self.side
        return {
            "orientation": "exif",
            "background": WHITE,
            "colour": COLOURS[self.channels],
            "resize": {"method": "bilinear", "antialias": True, "shortest_edge": side},
            "crop": {"side": side, "top": f"(height - {side}) // 2", "left": f"(width - {side}) // 2"},
        }

    def _subgrid(self) -> dict[str, Any]:
        return {"side": self.grid, "of": self.side, "index": f"i * {self.side} // {self.grid}"}

    @staticmethod
    def from_json(data: Any, where: str = "preprocessing") -> Preprocessing:
        """Check decoded JSON; `where` begins every message. What older files lack, all but `REQUIRED`, may be missing.

        Raises:
            InputError: not an object, an unknown or missing field, or a value that `dnas` does not act upon.
        """
        known = [*REQUIRED, "orientation", "background", "colour", "resize", "crop", "subgrid", "layout"]
        if not isinstance(data, dict):
            raise InputError(where, "not an object", found=data, accepted=f"an object of {', '.join(REQUIRED)}")
        for name in data:
            if name not in known:
                raise InputError(where, f"unknown field '{name}'{suggestion(str(name), known)}")
        for name in REQUIRED:
            if name not in data:
                raise InputError(where, f"field '{name}' is missing")
        side = _integer(f"{where}.side", data["side"], MAX_SIDE)
        channels = _integer(f"{where}.channels", data["channels"], 16)
        mean = _numbers(f"{where}.mean", data["mean"], channels, positive=False)
        std = _numbers(f"{where}.std", data["std"], channels, positive=True)
        _one_of(f"{where}.interpolation", data["interpolation"], INTERPOLATIONS)
        _one_of(f"{where}.layout", data.get("layout", LAYOUTS[0]), LAYOUTS)
        (scale,) = _numbers(f"{where}.scale", [data["scale"]], 1, positive=True)
        read = Preprocessing(side, channels, mean, std, data["interpolation"], scale, _grid(data, side, where))
        for name, value in read.to_json().items():
            if name not in (*REQUIRED, "layout") and data.get(name, value) != value:
                raise InputError(f"{where}.{name}", "not what is done", found=data[name], accepted=value)
        return read


def _grid(data: dict[str, Any], side: int, where: str) -> int | None:
    if "subgrid" not in data:
        return None
    subgrid = data["subgrid"]
    if not isinstance(subgrid, dict) or "side" not in subgrid:
        raise InputError(f"{where}.subgrid", "not an object with a side", found=subgrid)
    return _integer(f"{where}.subgrid.side", subgrid["side"], side)


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


def statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images [N, H, W, C], of values scaled to [0, 1].

    Computed from histograms in exact integers and rounded to six digits: the same on every machine. A channel that
    never varies gets a deviation of 1. Of images on disk `SAMPLED` are read, evenly spread, or all where there are
    fewer.
    """
    mean, std = [], []
    for counts in _histograms(images):
        n = int(counts.sum())
        total = sum(v * int(c) for v, c in enumerate(counts))
        squares = sum(v * v * int(c) for v, c in enumerate(counts))
        mean.append(round(total / n / 255, 6))
        std.append(round(math.sqrt(n * squares - total * total) / n / 255, 6) or 1.0)
    return tuple(mean), tuple(std)


def _histograms(images: Images) -> np.ndarray:
    """How often each value occurs, int64 [C, 256]."""
    count = min(len(images), SAMPLED) if isinstance(images, Streamed) else len(images)
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    counts = np.zeros((images.shape[3], 256), dtype=np.int64)
    size = max(1, min(1024, CHUNK_BYTES // math.prod(images.shape[1:])))
    for start in range(0, count, size):
        soon(images, chosen[start + size : start + 2 * size])
        chunk = images[chosen[start : start + size]]
        for channel, row in enumerate(counts):
            row += np.bincount(chunk[..., channel].ravel(), minlength=256)
    return counts


def prepare(images: jax.Array | np.ndarray, preprocessing: Preprocessing) -> jax.Array:
    """uint8 [N, H, W, C] -> float32 [N, S, S, channels], S its side or its grid's. Pure.

    `preprocessing` is static under `jit`.

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
    if p.grid is not None:
        index = grid_index(p.grid, p.side)
        x = x[:, index][:, :, index]
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


def _one_of(where: str, value: Any, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise InputError(where, "unknown", found=value, accepted=", ".join(accepted))


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
