"""Images in shards, which are tar, ArrayRecord or TFRecord files: found, then kept in memory or streamed, as files are.

Shards lie in `train/`, `val/` and `test/`, or side by side with the split in their names (`train-0001.tar`,
`name-train.array_record-00000-of-00010`); shards without one are the training images. The names of the classes stand in
`classes.txt`, or in `label.labels.txt` as TFDS writes it, one a line; without either, classes are called by numbers.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dnas.data.build import build
from dnas.data.dataset import SPLITS, Dataset, Kind, Origin, Pair, SplitName
from dnas.data.folder import MAX_SIDE, MEASURED, SIDE, Told
from dnas.data.names import split_of
from dnas.data.picture import pillow, read_size
from dnas.data.reading import Reading
from dnas.data.stream.array_record import Records, read_records
from dnas.data.stream.decode import OPENERS
from dnas.data.stream.images import Stream, Streamed, soon
from dnas.data.stream.places import listing
from dnas.data.stream.tar import Pieces, read_tars
from dnas.data.stream.tfrecord import feature_names, read_tfrecords
from dnas.errors import InputError

CLASS_FILES = ("classes.txt", "label.labels.txt")
CHUNK = 256
"""Images decoded together where all are kept in memory."""
Reader = Callable[[Path, Sequence[Path]], tuple[Pieces | Records, np.ndarray]]
KINDS: dict[Kind, tuple[re.Pattern[str], Reader]] = {
    "tar": (re.compile(r".*\.tar"), read_tars),
    "array_record": (re.compile(r".*\.array_?record(-\d+-of-\d+)?"), read_records),
    "tfrecord": (re.compile(r".*\.tfrecords?(-\d+-of-\d+)?"), read_tfrecords),
}
"""What the names of shards look like, and who reads them."""


@dataclass(frozen=True, eq=False)
class ShardSource:
    """Shards whose contents are known and not yet decoded (`dnas.data.load.Source`)."""

    name: str
    path: Path
    kind: Kind
    places: Pieces | Records
    labels: np.ndarray
    splits: Mapping[SplitName, np.ndarray]
    """Numbers of the images in `places`."""
    class_names: tuple[str, ...]
    seed: int
    reading: Reading
    fixed: bool = False
    notes: tuple[str, ...] = ()
    """What the user should be told of how it was found."""

    @property
    def native_side(self) -> int:
        """The median short side of the training images in pixels, from the headers of a sample."""
        return self._median

    @cached_property
    def _median(self) -> int:
        numbers, opener = self.splits["train"], OPENERS[self.places.kind]
        chosen = numbers[np.linspace(0, len(numbers) - 1, min(MEASURED, len(numbers))).astype(int)]
        sizes = [read_size(opener(*self.places.address(int(number)))) for number in chosen]
        return int(statistics.median_low([min(size) for size in sizes if size] or [SIDE]))

    def load(
        self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None,
        free: int | None = None,
    ) -> Dataset:  # fmt: skip
        """The images at a side, in memory or to be decoded as they are needed; see `dnas.data.folder.FolderSource`.

        In memory as well as streamed, `skip_bad` puts another image of the class in the place of an unreadable one.
        """
        side, where = SIDE if side is None else side, str(self.path)
        if not 1 <= side <= MAX_SIDE:
            raise InputError("image size", "out of range", found=side, accepted=f"1 to {MAX_SIDE}")
        pillow()
        streams, line = self.reading.streams(where, len(self.places) * side * side * channels, free)
        count, skip_bad = self.reading.count, self.reading.skip_bad
        stream = Stream(where, self.places, self.labels, side, channels, count, skip_bad)
        pairs: dict[SplitName, Pair] = {}
        for split, numbers in self.splits.items():
            images = Streamed(stream, numbers)
            pairs[split] = images if streams else _in_memory(images, progress), self.labels[numbers]
        notes = [f"images are decoded at {side} px{f' ({why})' if why else ''}", line, *self.notes]
        listed = listing(self.places, self.labels, range(len(self.places))).hex()
        return build(
            where, self.name, pairs["train"], pairs.get("test"), pairs.get("validation"),
            class_names=self.class_names, seed=self.seed, notes=notes,
            origin=Origin(self.kind, self.path, listing=listed),
        )  # fmt: skip


def shards_in(root: Path) -> tuple[Kind, dict[SplitName, list[Path]]] | None:
    """The shards of a folder by split, of the one kind that there is; None where there are none."""
    folders = [root, *(entry for entry in sorted(root.iterdir()) if entry.is_dir() and split_of(entry.name))]
    for kind, (pattern, _) in KINDS.items():
        found: dict[SplitName, list[Path]] = {}
        for folder in folders:
            for file in sorted(folder.iterdir()):
                if file.is_file() and pattern.fullmatch(file.name):
                    found.setdefault(_split(root, file), []).append(file)
        if found:
            return kind, found
    return None


def scan_shards(
    root: Path, name: str, seed: int, reading: Reading, kind: Kind, files: Mapping[SplitName, list[Path]]
) -> ShardSource:  # fmt: skip
    """Reads what the shards hold, but no pixels.

    Raises:
        InputError: no training shards, shards that cannot be read, labels beyond the names of the classes.
    """
    if "train" not in files:
        raise InputError(str(root), "no training shards", found=", ".join(files), accepted="train/*.tar, train-*.tar")
    order = [split for split in SPLITS if split in files]
    places, labels = KINDS[kind][1](root, [file for split in order for file in files[split]])
    ends = np.cumsum([0, *(len(files[split]) for split in order)])
    splits = {
        split: np.flatnonzero((places.which >= first) & (places.which < end))
        for split, first, end in zip(order, ends[:-1], ends[1:], strict=True)
    }
    return ShardSource(name, root, kind, places, labels, splits, _class_names(root, kind, labels), seed, reading)


def _split(root: Path, file: Path) -> SplitName:
    """By the folder, else by a word of the file's name."""
    words = [file.parent.name] if file.parent != root else re.split(r"[-_.]", file.name)
    return next((split for word in words if (split := split_of(word))), "train")


def _class_names(root: Path, kind: Kind, labels: np.ndarray) -> tuple[str, ...]:
    known = feature_names(root) if kind == "tfrecord" else None
    for name in (*CLASS_FILES, *(f"{label}.labels.txt" for label in (known[1] if known else ()))):
        if (root / name).is_file():
            lines = (root / name).read_text(errors="replace").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return tuple(map(str, range(labels.max(initial=-1) + 1)))


def _in_memory(images: Streamed, progress: Told | None) -> np.ndarray:
    """All of them, decoded."""
    pixels = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        stop = min(start + CHUNK, len(images))
        soon(images, np.arange(start, stop))
        soon(images, np.arange(stop, min(stop + CHUNK, len(images))))
        pixels[start:stop] = images[np.arange(start, stop)]
        if progress is not None:
            progress(stop, len(images))
    return pixels
