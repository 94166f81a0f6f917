"""Images at addresses to pixels, whatever they lie in. What a process that reads does, and a thread as well."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dnas.data.picture import Unreadable, read_picture
from dnas.data.stream.array_record import image_of
from dnas.data.stream.places import Places

Opener = Callable[..., "Path | IO[bytes]"]
"""An address's parts -> a file, or its bytes."""


class Decoded(NamedTuple):
    """Some images."""

    pixels: np.ndarray
    """uint8 [N, side, side, channels]"""
    bad: dict[int, str]
    """Row -> why it could not be read."""


def _piece(path: str, start: int, size: int) -> IO[bytes]:
    """A part of a file."""
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return io.BytesIO(file.read(size))


OPENERS: dict[str, Opener] = {"file": Path, "piece": _piece, "record": image_of}
"""By `Places.kind`."""


def decode(places: Places, numbers: np.ndarray, side: int, channels: int) -> Decoded:
    """Images by their numbers."""
    found = Decoded(np.zeros((len(numbers), side, side, channels), np.uint8), {})
    for row, number in enumerate(numbers):
        if reason := decode_into(found.pixels[row], places, int(number)):
            found.bad[row] = reason
    return found


def decode_into(pixels: np.ndarray, places: Places, number: int) -> str | None:
    """Fills uint8 [side, side, channels] with an image, or says why not."""
    side, _, channels = pixels.shape
    try:
        pixels[...] = read_picture(OPENERS[places.kind](*places.address(number)), side, channels).pixels
    except Unreadable as error:
        return error.reason
    except OSError as error:
        return error.strerror or str(error)
