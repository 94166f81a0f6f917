"""Where the images of a data set lie: numbers to addresses, which a reader in another process understands.

An address is plain JSON. All of them together are kept packed: a million names take as much memory as their bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dnas.files import text_of


class Packed:
    """Many byte strings, in the memory of their bytes and eight more each."""

    def __init__(self, names: Iterable[bytes]):
        lengths: list[int] = []
        self._bytes = b"".join(lengths.append(len(name)) or name for name in names)
        self._ends = np.cumsum(np.array([0, *lengths], np.int64))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]]


class Places(Protocol):
    """The images of a source, all splits one after the other."""

    @property
    def kind(self) -> str:
        """Which of `dnas.data.stream.decode.OPENERS` opens them."""
        ...

    def __len__(self) -> int: ...

    def address(self, number: int) -> list[Any]:
        """What the opener is given."""
        ...

    def name(self, number: int) -> bytes:
        """The image's own, the same on every machine."""
        ...

    def shown(self, number: int) -> str:
        """The file, for people."""
        ...

    def size(self, number: int) -> int:
        """Bytes as stored, or -1 where they are not known without reading."""
        ...


@dataclass(frozen=True, eq=False)
class Listed:
    """Images by their names and sizes; `Places` but for where they lie."""

    names: Packed
    """Relative to the data's folder, with slashes."""
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> bytes:
        return self.names[number]

    def shown(self, number: int) -> str:
        return text_of(os.fsdecode(self.names[number]))

    def size(self, number: int) -> int:
        return int(self.sizes[number])


@dataclass(frozen=True, eq=False)
class FilePlaces(Listed):
    """Image files below a folder."""

    root: str
    kind: str = "file"

    def address(self, number: int) -> list[Any]:
        return [os.path.join(self.root, os.fsdecode(self.names[number]))]


@dataclass(frozen=True, eq=False)
class Parts(Listed):
    """Images that are parts of larger files."""

    files: Sequence[str]
    which: np.ndarray
    """Number of the file, of each image."""
    places: np.ndarray
    """Where in its file each image is, in the file's own measure."""


def listing(places: Places, labels: np.ndarray, numbers: Iterable[int]) -> bytes:
    """sha256 over name, stored bytes and label of images, in order: what is cheap to know of them."""
    digest = hashlib.sha256()
    for number in numbers:
        name = places.name(number)
        digest.update(b"%d %d %d %s\n" % (len(name), places.size(number), labels[number], name))
    return digest.digest()


def file_places(root: str, names: Iterable[str]) -> FilePlaces:
    """Of names relative to `root`; a file that is gone has no size, and is told when it is read."""
    packed = Packed(os.fsencode(name) for name in names)
    places = FilePlaces(packed, np.full(len(packed), -1, np.int64), root)
    for number in range(len(packed)):
        try:
            places.sizes[number] = os.stat(places.address(number)[0]).st_size
        except OSError:
            continue
    return places
