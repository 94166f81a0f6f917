"""One image at an address to pixels, whatever it lies in. What a process that reads does, and a thread as well."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from dnas.data.picture import Unreadable, read_picture
from dnas.data.stream.array_record import image_of

Opener = Callable[..., "Path | IO[bytes]"]
"""An address's parts -> a file, or its bytes."""


def _piece(path: str, start: int, size: int) -> IO[bytes]:
    """A part of a file."""
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return io.BytesIO(file.read(size))


OPENERS: dict[str, Opener] = {"file": Path, "piece": _piece, "record": image_of}
"""By `Places.kind`."""


def decoded(kind: str, address: list[Any], side: int, channels: int) -> np.ndarray | str:
    """uint8 [side, side, channels], or why there is none."""
    try:
        return read_picture(OPENERS[kind](*address), side, channels).pixels
    except Unreadable as error:
        return error.reason
    except OSError as error:
        return error.strerror or str(error)
