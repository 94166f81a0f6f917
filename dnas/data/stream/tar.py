"""Tar shards as webdataset has them: `key.jpg` beside `key.cls` or `key.json`, in plain files `*.tar`.

The headers are read once; after that an image is a piece of a file, read wherever it lies.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.data.stream.places import Packed, Parts
from dnas.errors import InputError
from dnas.files import text_of

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "ppm", "tif", "tiff")
"""Ends of names of images."""
LABELS = ("cls", "json")
JSON_LABELS = ("label", "cls", "class")
"""Fields of a `.json` that may hold the class's number."""


@dataclass(frozen=True, eq=False)
class Pieces(Parts):
    """Images that are pieces of files: places are their first bytes."""

    kind: str = "piece"

    def address(self, number: int) -> list[Any]:
        return [self.files[self.which[number]], int(self.places[number]), int(self.sizes[number])]


def read_tars(root: Path, files: Sequence[Path]) -> tuple[Pieces, np.ndarray]:
    """The images of shards, one shard after the other, and their labels, int32.

    Raises:
        InputError: a file that is no tar archive, an image without a label, a label that is no class's number.
    """
    found = [(number, *sample) for number, file in enumerate(files) for sample in _samples(root, file)]
    which, names, starts, sizes, labels = zip(*found, strict=True) if found else ((), (), (), (), ())
    pieces = Pieces(
        Packed(names), np.array(sizes, np.int64), [os.fspath(file) for file in files], np.array(which, np.int32),
        np.array(starts, np.int64),
    )  # fmt: skip
    return pieces, np.array(labels, np.int32)


def _samples(root: Path, file: Path) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, first byte, bytes and label of every image of a shard, in its order."""
    images: dict[str, tuple[bytes, int, int]] = {}
    labels: dict[str, int] = {}
    within = file.relative_to(root).as_posix()
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                key, _, end = base.partition(".")
                key, end = f"{folder}/{key}", end.lower()
                if not member.isfile():
                    continue
                if end in IMAGES:
                    images[key] = os.fsencode(f"{within}/{member.name}"), member.offset_data, member.size
                elif end in LABELS:
                    content = archive.extractfile(member)
                    assert content is not None
                    labels[key] = _label(f"{file}: {text_of(member.name)}", end, content.read())
    except (tarfile.TarError, OSError) as error:
        raise InputError(str(file), f"cannot be read as a tar archive: {error}") from error
    for key, image in images.items():
        if key not in labels:
            raise InputError(str(file), f"no label of {text_of(key)}", accepted="KEY.cls or KEY.json beside KEY.jpg")
        yield *image, labels[key]


def _label(where: str, end: str, content: bytes) -> int:
    accepted = "a class's number from 0" if end == "cls" else f"an object with a number in {' or '.join(JSON_LABELS)}"
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InputError(where, "no label", found=content[:40], accepted=accepted) from error
    if isinstance(value, dict):
        value = next((value[name] for name in JSON_LABELS if name in value), None)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InputError(where, "no label", found=value, accepted=accepted)
    return value
