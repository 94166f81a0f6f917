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
from dnas.data.class_folders import subfolders
from dnas.data.dataset import SPLITS, Dataset, Kind, Origin, Pair, SplitName
from dnas.data.folder import MEASURED, SIDE, Told, left_out, refuse_bad
from dnas.data.image_side import MAX_SIDE
from dnas.data.names import split_of
from dnas.data.picture import pillow, read_size
from dnas.data.reading import Reading
from dnas.data.stream.array_record import MISSING, Records, read_records
from dnas.data.stream.decode import OPENERS
from dnas.data.stream.images import Stream, Streamed
from dnas.data.stream.places import listing
from dnas.data.stream.tar import Pieces, read_tars
from dnas.data.stream.tfrecord import feature_names, read_tfrecords
from dnas.errors import InputError

CLASS_FILES = ("classes.txt", "label.labels.txt")
CHUNK = 256
"""Images decoded together where all are kept in memory."""
Reader = Callable[[Path, Sequence[Path]], tuple[Pieces | Records, np.ndarray, list[str]]]
"""Folder and shards -> where images lie, their labels, and what was left out, in sentences."""
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
        memory: int | None = None,
    ) -> Dataset:  # fmt: skip
        """The images at a side, in memory or to be decoded as they are needed; see `dnas.data.folder.FolderSource`."""
        side, where = SIDE if side is None else side, str(self.path)
        if not 1 <= side <= MAX_SIDE:
            raise InputError("image size", "out of range", found=side, accepted=f"1 to {MAX_SIDE}")
        pillow()
        images = sum(map(len, self.splits.values()))
        streams, line = self.reading.streams(where, images * side * side * channels, memory)
        count, skip_bad = self.reading.count, self.reading.skip_bad
        stream = Stream(where, self.places, self.labels, side, channels, count, skip_bad)
        if streams:
            pairs, skipped = {s: (Streamed(stream, n), self.labels[n]) for s, n in self.splits.items()}, []
        else:
            pairs, skipped = self._in_memory(stream, progress)
        notes = [f"images are decoded at {side} px{f' ({why})' if why else ''}", line, *self.notes, *left_out(skipped)]
        listed = listing(self.places, self.labels, range(len(self.places))).hex()
        return build(
            where, self.name, pairs["train"], pairs.get("test"), pairs.get("validation"),
            class_names=self.class_names, seed=self.seed, skipped=skipped, notes=notes,
            origin=Origin(self.kind, self.path, listing=listed),
        )  # fmt: skip

    def _in_memory(self, stream: Stream, progress: Told | None) -> tuple[dict[SplitName, Pair], list[str]]:
        """All splits, decoded, less the images that cannot be read; and the names of these."""
        every = np.concatenate(list(self.splits.values()))
        pixels, reasons = _decoded(stream, every, progress)
        bad = {self.places.shown(int(every[row])): reason for row, reason in reasons.items()}
        if not stream.skip_bad:
            refuse_bad(stream.where, bad, len(every))
        pairs: dict[SplitName, Pair] = {}
        start = 0
        for split, numbers in self.splits.items():
            own = pixels[start : start + len(numbers)]
            good = [row for row in range(len(numbers)) if start + row not in reasons]
            pairs[split] = (own if len(good) == len(own) else own[good]), self.labels[numbers[good]]
            start += len(numbers)
        if bad and not len(pairs["train"][1]):
            raise InputError(stream.where, "none of the training images can be read")
        return pairs, list(bad)


def shards_in(root: Path) -> tuple[Kind, dict[SplitName, list[Path]]] | None:
    """The shards of a folder by split, of the one kind that there is; None where there are none."""
    folders = [root, *(folder for folder in subfolders(root) if split_of(folder.name))]
    for kind, (pattern, _) in KINDS.items():
        found: dict[SplitName, list[Path]] = {}
        for folder in folders:
            for file in sorted(folder.iterdir()):
                if pattern.fullmatch(file.name) and not file.name.startswith(".") and file.is_file():
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
    places, labels, notes = KINDS[kind][1](root, [file for split in order for file in files[split]])
    ends = np.cumsum([0, *(len(files[split]) for split in order)])
    splits = {
        split: np.flatnonzero((places.which >= first) & (places.which < end))
        for split, first, end in zip(order, ends[:-1], ends[1:], strict=True)
    }
    if not len(splits["train"]):
        raise InputError(str(root), "no images in the training shards", found="; ".join(notes) or None)
    splits, missing = labelled(splits, labels)
    names = _class_names(root, kind, labels)
    return ShardSource(name, root, kind, places, labels, splits, names, seed, reading, notes=(*notes, *missing))


def labelled(
    splits: Mapping[SplitName, np.ndarray], labels: np.ndarray
) -> tuple[dict[SplitName, np.ndarray], list[str]]:
    """The splits less those that have no labels, which are told; training images are kept, for whoever checks them."""
    none = [s for s, own in splits.items() if s != "train" and len(own) and (labels[own] == MISSING).all()]
    notes = [f"left out: the {split} split, which has no labels" for split in none]
    return {split: own for split, own in splits.items() if split not in none}, notes


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
    count = int(labels.max(initial=-1)) + 1
    if count > len(labels):
        accepted = "a label less than the number of images, or names in classes.txt"
        raise InputError(str(root), f"only {len(labels):,} images for such a label", found=count - 1, accepted=accepted)
    return tuple(map(str, range(count)))


def _decoded(stream: Stream, numbers: np.ndarray, progress: Told | None) -> tuple[np.ndarray, dict[int, str]]:
    """The pixels of images, and why those of some rows cannot be read."""
    pixels = np.empty((len(numbers), stream.side, stream.side, stream.channels), np.uint8)
    bad: dict[int, str] = {}
    for start in range(0, len(numbers), CHUNK):
        stop = min(start + CHUNK, len(numbers))
        stream.expect(numbers[start:stop])
        stream.expect(numbers[stop : stop + CHUNK])
        found = stream.decoded(numbers[start:stop])
        pixels[start:stop] = found.pixels
        bad |= {start + row: reason for row, reason in found.bad.items()}
        if progress is not None:
            progress(stop, len(numbers))
    return pixels, bad
