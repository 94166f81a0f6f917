"""One picture file to one array: the only place where files are decoded.

The steps are those of Hugging Face's image processors and of torchvision on Pillow images, so that any tool can repeat
them to the bit (`dnas.data.preprocess` records them for deployers):

1. open; of several frames (animations, pages) the first;
2. turn as the EXIF orientation says (`ImageOps.exif_transpose`; any of 1 to 8, in every format that has it;
   damaged EXIF data count as none);
3. lay what is transparent over white (`Image.alpha_composite` of RGBA);
4. convert to RGB, or to L for networks of one channel (Pillow's ITU-R 601 luma);
5. resize the shortest edge to `side`, the other to int(side * long / short), with Pillow's bilinear filter, which
   averages where it shrinks;
6. cut the central square: top = (height - side) // 2, left = (width - side) // 2.

CMYK becomes RGB by Pillow's plain formula, and embedded colour profiles are not applied: other tools do neither more,
and a network meets the same numbers in training and in use. A JPEG is always decoded whole (Pillow's draft mode would
give other pixels).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from dnas.errors import InputError, MissingExtra

BACKGROUND = (255, 255, 255)
"""Colour, RGB, under what is transparent."""
MAX_PIXELS = 100_000_000
"""A larger single picture is refused unread, and so is one that would be as large after its resize."""

_MODES = {1: "L", 3: "RGB"}
_ORIENTATION = 0x0112
_TURNS = range(2, 9)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, and what was done to it that its owner may want to know."""

    pixels: np.ndarray
    """uint8 [side, side, channels]"""
    size: tuple[int, int]
    """Width and height in pixels, as one looks at it: after the turn."""
    turned: bool
    """Its EXIF orientation was another than upright."""
    transparent: bool
    """Some of it was, and shows the background."""
    several: bool
    """Its file holds more frames or pages, which were not read."""

    @property
    def cut(self) -> float:
        """Share of the area outside the central square, 0 to 1."""
        return 1 - min(self.size) / max(self.size)


class Unreadable(InputError):
    """A file that is no picture, a damaged one, or one of a kind that is not read; `reason` is without its name."""

    def __init__(self, where: str, reason: str):
        super().__init__(where, f"cannot be read: {reason}")
        self.reason = reason


def read_picture(file: Path | IO[bytes], side: int, channels: int = 3) -> Picture:
    """Decodes one file to a square of `side` pixels and 3 (RGB) or 1 (grey) channels.

    Raises:
        Unreadable: not a picture, damaged, of 16 bits or floats, or too large.
        MissingExtra: Pillow is not installed.
    """
    if channels not in _MODES:
        raise InputError("channels", "pictures have other ones", found=channels, accepted="1 or 3")
    image_module = pillow()
    where = str(file) if isinstance(file, Path) else str(getattr(file, "name", "picture"))
    if isinstance(file, Path):
        check_file(file)
    try:
        return _read(image_module, file, side, _MODES[channels])
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders fail in many ways on damaged files; each is that file's fault
        said = " ".join(str(error).replace(repr(where), "it").split())
        raise Unreadable(where, said[:120] or type(error).__name__) from error


def read_size(file: Path | IO[bytes]) -> tuple[int, int] | None:
    """Width and height as stored, from the header alone; None where it cannot be read.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        if isinstance(file, Path):
            check_file(file)
        with pillow().open(file) as image:
            return image.size
    except MissingExtra:
        raise
    except Exception:  # as in `read_picture`; whoever decodes the file tells the reason
        return None


def check_file(file: Path) -> None:
    """Raises `Unreadable` for a folder or a pipe, on which a reader would wait for ever."""
    if file.exists() and not file.is_file():
        raise Unreadable(str(file), "not a file")


def pillow() -> Any:
    """The module `PIL.Image`; raises `MissingExtra` where it is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow is missing; install dnas[data]") from error
    return Image


def _read(pil: Any, file: Path | IO[bytes], side: int, mode: str) -> Picture:
    from PIL import ImageOps as ops

    with pil.open(file) as image:
        _check_pixels(*image.size)
        if image.mode[0] in "IF":
            raise ValueError(f"mode {image.mode}, only 8-bit images are read")
        several = bool(getattr(image, "is_animated", False))
        turned = _orientation(image) in _TURNS  # before the pixels: a TIFF is turned as they are read
        image.load()
        opaque, transparent = _opaque(pil, ops.exif_transpose(image) if turned else image)
        whole = opaque if opaque.mode == mode else opaque.convert(mode)  # either would copy what needs no change
    short, long = sorted(whole.size)
    other = int(side * long / short)
    _check_pixels(side, other)
    width, height = (side, other) if whole.width <= whole.height else (other, side)
    resized = whole.resize((width, height), pil.Resampling.BILINEAR)
    top, left = (height - side) // 2, (width - side) // 2
    pixels = np.asarray(resized.crop((left, top, left + side, top + side)))
    return Picture(pixels.reshape(side, side, len(mode)), whole.size, turned, transparent, several)


def _orientation(image: Any) -> Any:
    """As its EXIF data say; upright where these are damaged, on which Pillow fails in many ways."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:
        return 1


def _opaque(pil: Any, image: Any) -> tuple[Any, bool]:
    """The image over the background where it is transparent, and whether it is anywhere."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa") and "transparency" not in image.info:
        return image, False
    layers = image.convert("RGBA")
    if layers.getextrema()[3][0] == 255:
        return layers.convert("RGB"), False
    return pil.alpha_composite(pil.new("RGBA", layers.size, (*BACKGROUND, 255)), layers).convert("RGB"), True


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are too many")
