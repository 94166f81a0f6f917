"""Image folders: found once (`scan_folder`), then decoded, in threads, at the side and channels that are asked for."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnas.data.build import build
from dnas.data.class_folders import ClassFolders, class_folders
from dnas.data.dataset import Dataset, Origin, Pair, SplitName
from dnas.data.image_side import MAX_SIDE
from dnas.data.names import counted, listed
from dnas.data.picture import Unreadable, check_file, pillow, read_picture, read_size
from dnas.data.reading import Reading
from dnas.data.stream.images import Stream, Streamed
from dnas.data.stream.places import FilePlaces, file_places, listing
from dnas.errors import InputError
from dnas.files import text_of

SIDE = 64
"""Pixels to which images are decoded where nobody says otherwise."""
MEASURED = 200
"""Images whose headers tell how large the folder's images are."""

Told = Callable[[int, int], None]
"""Is told how many images are decoded, and of how many."""


class _Look(NamedTuple):
    """What was seen of one file."""

    digest: bytes
    """sha256 of its bytes; empty where it cannot be opened."""
    reason: str | None
    """Why it cannot be read."""
    cut: float = 0.0
    turned: bool = False
    transparent: bool = False
    several: bool = False


@dataclass(frozen=True, eq=False)
class FolderSource:
    """An image folder whose files are known and not yet decoded (`dnas.data.load.Source`)."""

    name: str
    path: Path
    folders: ClassFolders
    seed: int
    reading: Reading
    fixed: bool = False
    """Its images take any side."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(map(text_of, self.folders.classes))

    @property
    def native_side(self) -> int:
        """The median short side of the training images in pixels, from the headers of a sample."""
        return self._median

    @cached_property
    def _median(self) -> int:
        files = [file for _, file in self.folders.files("train")]
        places = np.linspace(0, len(files) - 1, min(MEASURED, len(files))).astype(int)
        sizes = [size for place in places if (size := read_size(files[place])) is not None]
        return int(statistics.median_low([min(size) for size in sizes])) if sizes else SIDE

    def load(
        self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None,
        memory: int | None = None,
    ) -> Dataset:  # fmt: skip
        """All images as uint8 [N, side, side, channels], or to be decoded as they are needed, as `reading` says.

        Args:
            side: 64 if not given.
            channels: 3 (RGB) or 1 (grey).
            why: where the side comes from, for the note that tells it.
            memory: bytes that the machine has; this one's if not given.

        Raises:
            MissingExtra: Pillow is not installed.
            InputError: more than the bound where they were to be in memory, a class without images, or unreadable
                images unless `skip_bad`, which leaves them out and lists them in `Dataset.skipped`. Images that are
                streamed are told when they are met.
        """
        side = SIDE if side is None else side
        if not 1 <= side <= MAX_SIDE:
            raise InputError("image size", "out of range", found=side, accepted=f"1 to {MAX_SIDE}")
        pillow()
        where, files = str(self.path), [file for split in self.folders.splits for _, file in self.folders.files(split)]
        streams, line = self.reading.streams(where, len(files) * side * side * channels, memory)
        notes = [self._decoded(side, channels, why), line, *self.folders.notes]
        places, labels = self._places()
        if streams:
            return self._streamed(places, labels, side, channels, notes)
        images, looks = decode(files, side, channels, progress)
        bad = {f: look.reason for f, look in zip(files, looks, strict=True) if look.reason is not None}
        skipped = [text_of(self.folders.relative(file)) for file in bad]
        if not self.reading.skip_bad:
            refuse_bad(where, dict(zip(skipped, bad.values(), strict=True)), len(files))
        pairs, read = self._parted(images, bad)
        if not read["train"]:
            raise InputError(where, "none of the training images can be read")
        return build(
            where, self.name, pairs["train"], pairs.get("test"), pairs.get("validation"),
            class_names=self.folders.classes, seed=self.seed, skipped=skipped,
            notes=[*notes, *left_out(skipped), *_notes(looks)],
            origin=Origin("folder", self.path, self._digest(files, looks), _listed(places, labels)),
            image_name=lambda split, number: text_of(self.folders.relative(read[split][number])),
        )  # fmt: skip

    def _places(self) -> tuple[FilePlaces, np.ndarray]:
        """Where all images lie, and their labels; splits one after the other."""
        found = [pair for split in self.folders.splits for pair in self.folders.files(split)]
        places = file_places(str(self.path), (self.folders.relative(file) for _, file in found))
        return places, np.array([label for label, _ in found], np.int32)

    def _streamed(
        self, places: FilePlaces, labels: np.ndarray, side: int, channels: int, notes: Sequence[str]
    ) -> Dataset:  # fmt: skip
        """The data with the images where they are."""
        where, reading = str(self.path), self.reading
        stream = Stream(where, places, labels, side, channels, reading.count, reading.skip_bad)
        pairs: dict[SplitName, Pair] = {}
        start = 0
        for split in self.folders.splits:
            numbers = np.arange(start, start + sum(1 for _ in self.folders.files(split)))
            pairs[split] = (Streamed(stream, numbers), labels[numbers])
            start += len(numbers)
        return build(
            where, self.name, pairs["train"], pairs.get("test"), pairs.get("validation"),
            class_names=self.folders.classes, seed=self.seed, notes=notes,
            origin=Origin("folder", self.path, listing=_listed(places, labels)),
        )  # fmt: skip

    def _parted(
        self, images: np.ndarray, bad: Container[Path]
    ) -> tuple[dict[SplitName, Pair], dict[SplitName, list[Path]]]:
        """Images and labels of every split, and the files they are of, less the `bad` ones."""
        pairs: dict[SplitName, Pair] = {}
        read: dict[SplitName, list[Path]] = {}
        start = 0
        for split in self.folders.splits:
            found = list(self.folders.files(split))
            good = [n for n, (_, file) in enumerate(found) if file not in bad]
            own = images[start : start + len(found)]
            labels = np.array([found[n][0] for n in good], dtype=np.int32)
            pairs[split] = (own if len(good) == len(found) else own[good], labels)
            read[split] = [found[n][1] for n in good]
            start += len(found)
        return pairs, read

    def _decoded(self, side: int, channels: int, why: str) -> str:
        grey = " in grey" if channels == 1 else ""
        return (
            f"images are decoded at {side} px{grey}{f' ({why})' if why else ''}; "
            f"their short side is {self.native_side} px in the median"
        )

    def _digest(self, files: Sequence[Path], looks: Sequence[_Look]) -> str:
        """sha256 over names and contents of the images: the same whatever the side, and on every machine."""
        digest = hashlib.sha256()
        names = (os.fsencode(self.folders.relative(file)) for file in files)
        for name, look in sorted(zip(names, looks, strict=True)):
            digest.update(name + b"\0" + look.digest)
        return digest.hexdigest()


def scan_folder(root: Path, name: str, seed: int, reading: Reading) -> FolderSource:
    """Finds the images of a folder (`dnas.data.class_folders`) and opens none of them."""
    return FolderSource(name, root, class_folders(root), seed, reading)


def _listed(places: FilePlaces, labels: np.ndarray) -> str:
    return listing(places, labels, range(len(places))).hex()


def decode(
    files: Sequence[Path], side: int, channels: int = 3, progress: Told | None = None
) -> tuple[np.ndarray, list[_Look]]:
    """uint8 [len(files), side, side, channels], and what was seen of every file; rows of unreadable ones are zero."""
    images = np.zeros((len(files), side, side, channels), dtype=np.uint8)

    def one(index: int) -> _Look:
        digest = b""
        try:
            check_file(files[index])
            with files[index].open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            picture = read_picture(files[index], side, channels)
        except Unreadable as error:
            return _Look(digest, error.reason)
        except OSError as error:
            return _Look(digest, error.strerror or str(error))
        images[index] = picture.pixels
        return _Look(digest, None, picture.cut, picture.turned, picture.transparent, picture.several)

    looks = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for look in pool.map(one, range(len(files))):
            looks.append(look)
            if progress is not None:
                progress(len(looks), len(files))
    return images, looks


def refuse_bad(where: str, bad: Mapping[str, str], count: int) -> None:
    """Raises `InputError` where there are `bad` ones, by name and reason, among `count` images."""
    if bad:
        shown = listed([f"{file} ({reason})" for file, reason in bad.items()])
        problem = f"{len(bad)} of {count} images cannot be read: {shown}; repair or remove them, or --skip-bad"
        raise InputError(where, problem)


def left_out(skipped: Sequence[str]) -> list[str]:
    """The note on images that cannot be read."""
    if not skipped:
        return []
    return [f"left out: {counted(len(skipped), 'image')} that cannot be read: {listed(skipped)}"]


def _notes(looks: Sequence[_Look]) -> list[str]:
    """What was done to the images."""
    read = [look for look in looks if look.reason is None]
    notes = []
    if cuts := [look.cut for look in read if look.cut]:
        share = 100 * sum(cuts) / len(cuts)
        notes.append(
            f"{len(cuts)} of {counted(len(read), 'image')} are not square: the central square is used, "
            f"on average {f'{share:.0f} %' if share >= 1 else 'less than 1 %'} of their area is cut"
        )
    for number, what in (
        (sum(look.turned for look in read), "turned as the EXIF orientation says"),
        (sum(look.transparent for look in read), "transparent in places: laid over white"),
        (sum(look.several for look in read), "the first of several frames or pages in a file"),
    ):
        if number:
            notes.append(f"{counted(number, 'image is', 'images are')} {what}")
    return notes
