"""Tar shards as webdataset has them: `key.jpg` beside `key.cls` or `key.json`, in plain files `*.tar`.

The headers are read once; after that an image is a piece of a file, read wherever it lies. A key goes up to the last
dot of a name. In webdataset it ends at the first, so `a.mask.png` is no image of its own beside `a.jpg`: an image whose
key has a dot is read if it has a label of its own, and is left out if not. What is left out is counted and named.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnas.data.names import counted, listed
from dnas.data.stream.places import Packed, Parts
from dnas.errors import InputError
from dnas.files import text_of

IMAGES = ("jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "ppm", "pgm", "tif", "tiff")
"""Ends of names of images; of several images of a key the one that stands first here is read."""
HIDDEN, LINKED = ("image", "hidden"), ("image", "linked to what is no earlier file of the archive")
SECOND = "image", "of a key that has another one"
UNLABELLED = "image", "with a dot in the key, and no label of that key"
ALONE = "label", "without an image"
"""What is left out, and why."""
JSON_LABELS = ("label", "cls", "class")
"""Fields of a `.json` that may hold the class's number."""


@dataclass(frozen=True, eq=False)
class Pieces(Parts):
    """Images that are pieces of files: places are their first bytes."""

    kind: str = "piece"

    def address(self, number: int) -> list[Any]:
        return [self.files[self.which[number]], int(self.places[number]), int(self.sizes[number])]


LeftOut = dict[tuple[str, str], list[str]]
"""What and why -> shards and names."""


class Members(NamedTuple):
    """What a shard holds, by key. A hard link stands for the file that it is linked to."""

    images: dict[str, tuple[str, tarfile.TarInfo]]
    """Name, and where its bytes are."""
    numbers: dict[str, tarfile.TarInfo]
    """`key.cls`"""
    objects: dict[str, tarfile.TarInfo]
    """`key.json`, which may hold anything where there is a `key.cls`."""


def read_tars(root: Path, files: Sequence[Path]) -> tuple[Pieces, np.ndarray, list[str]]:
    """The images of shards, one shard after the other, their labels, int32, and what was left out, in sentences.

    Raises:
        InputError: a file that is no tar archive, an image without a label, a label that is no class's number.
    """
    left: LeftOut = {}
    found = [(number, *sample) for number, file in enumerate(files) for sample in _samples(root, file, left)]
    which, names, starts, sizes, labels = zip(*found, strict=True) if found else ((), (), (), (), ())
    pieces = Pieces(
        Packed(names), np.array(sizes, np.int64), [os.fspath(file) for file in files], np.array(which, np.int32),
        np.array(starts, np.int64),
    )  # fmt: skip
    notes = [f"left out: {counted(len(own), what)} {why}: {listed(own)}" for (what, why), own in left.items()]
    return pieces, np.array(labels, np.int32), notes


def _samples(root: Path, file: Path, left: LeftOut) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, first byte, bytes and label of every image of a shard, in its order."""
    within = file.relative_to(root).as_posix()
    try:
        with tarfile.open(file, "r:") as archive:
            members = _members(archive, within, left)
            for key, (name, image) in members.images.items():
                end = "cls" if key in members.numbers else "json"
                label = members.numbers.get(key) or members.objects.get(key)
                if label is not None:
                    content = archive.extractfile(label)
                    assert content is not None
                    number = _label(f"{file}: {text_of(key.removeprefix('/'))}.{end}", end, content.read())
                    yield os.fsencode(f"{within}/{name}"), image.offset_data, image.size, number
                elif "." in key.rpartition("/")[2]:
                    left.setdefault(UNLABELLED, []).append(f"{within}/{name}")
                else:
                    accepted = "KEY.cls or KEY.json beside KEY.jpg"
                    raise InputError(str(file), f"no label of {text_of(key)}", accepted=accepted)
            for key, label in members.numbers.items():
                if key not in members.images:
                    left.setdefault(ALONE, []).append(f"{within}/{label.name}")
    except (tarfile.TarError, OSError) as error:
        raise InputError(str(file), f"cannot be read as a tar archive: {error}") from error


def _members(archive: tarfile.TarFile, within: str, left: LeftOut) -> Members:
    """Reads the headers."""
    images: dict[str, dict[str, tuple[str, tarfile.TarInfo]]] = {}
    found, files = Members({}, {}, {}), dict[str, tarfile.TarInfo]()
    for member in archive:
        folder, _, base = member.name.rpartition("/")
        stem, _, end = base.rpartition(".")
        key, end, hidden = f"{folder}/{stem}", end.lower(), base.startswith(".")
        content = files.get(member.linkname) if member.islnk() else member if member.isfile() else None
        if content is not None:
            files[member.name] = content
        if content is None or hidden:
            if end in IMAGES and not member.isdir():
                left.setdefault(HIDDEN if hidden else LINKED, []).append(f"{within}/{member.name}")
        elif end in IMAGES:
            images.setdefault(key, {})[end] = member.name, content
        elif end == "cls":
            found.numbers[key] = content
        elif end == "json":
            found.objects[key] = content
    for key, own in images.items():
        first, *others = sorted(own, key=IMAGES.index)
        found.images[key] = own[first]
        for end in others:
            left.setdefault(SECOND, []).append(f"{within}/{own[end][0]}")
    return found


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
