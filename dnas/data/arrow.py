"""Data sets of Hugging Face's `datasets`, saved on disk or as parquet files: found, then kept in memory or streamed, as
shards are.

`datasets` says what there is (splits, features, names of classes), and turns parquet into its own Arrow files, in its
cache. In these an encoded image is a piece of a file, so readers open them as they open tar shards, without `datasets`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnas.data.class_folders import beside_classes, subfolders
from dnas.data.dataset import SPLITS, SplitName
from dnas.data.names import listed, split_of
from dnas.data.reading import Reading
from dnas.data.shards import ShardSource, labelled
from dnas.data.stream.places import Packed
from dnas.data.stream.tar import Pieces
from dnas.errors import InputError
from dnas.files import text_of
from dnas.process.extras import need

EXTRA = "hf"
SAVED = ("dataset_dict.json", "state.json")
"""Files of which `save_to_disk` writes one: of several splits, of one."""


class File(NamedTuple):
    """Where the images of an Arrow file lie in it."""

    split: SplitName
    path: str
    starts: np.ndarray
    """int64 [rows]"""
    sizes: np.ndarray
    """int64 [rows]"""
    labels: np.ndarray
    """int64 [rows]"""


def is_arrow(root: Path) -> bool:
    """Whether a folder is a data set of `datasets`: saved, or parquet files that lie beside no folders of classes."""
    files = [file for own in _parquet_in(root).values() for file in own]
    return _is_saved(root) or bool(files) and not beside_classes(files)


def scan_arrow(root: Path, name: str, seed: int, reading: Reading) -> ShardSource:
    """Reads where images lie and their labels, but no pixels.

    Raises:
        InputError: damaged files, no training split, not one column of images and one of classes.
        MissingExtra: the package `datasets` is not installed.
    """
    datasets = need("datasets", EXTRA)
    found, notes = _splits(root, _read(datasets, root))
    image, label = _columns(datasets, root, found)
    names = found["train"].features[label].names
    files: list[File] = []
    for split, data in found.items():
        if data.features[label].names != names:
            raise InputError(f"{root}: {split}", "classes differ from those of the training images",
                             found=listed(data.features[label].names), accepted=listed(names))  # fmt: skip
        own = [file_of(split, file["filename"], image, label) for file in data.cache_files]
        if sum(len(file.labels) for file in own) != len(data):
            raise InputError(f"{root}: {split}", "a selection of the files' rows", accepted="save_to_disk of it")
        files += own
    labels, counts = np.concatenate([file.labels for file in files]), [len(file.labels) for file in files]
    of_split = np.repeat([SPLITS.index(file.split) for file in files], counts)
    splits, missing = labelled({s: np.flatnonzero(of_split == SPLITS.index(s)) for s in found}, labels)
    pieces = Pieces(
        Packed(_row_names(files)), np.concatenate([file.sizes for file in files]), [file.path for file in files],
        np.repeat(np.arange(len(files), dtype=np.int32), counts), np.concatenate([file.starts for file in files]),
    )  # fmt: skip
    known = tuple(map(text_of, names))
    return ShardSource(
        name, root, "arrow", pieces, labels.astype(np.int32), splits, known, seed, reading, notes=(*notes, *missing)
    )


def _row_names(files: Sequence[File]) -> Iterator[bytes]:
    """Of every row: its split, and its number there."""
    rows: Counter[SplitName] = Counter()
    for file in files:
        for _ in file.labels:
            yield f"{file.split}/{rows[file.split]}".encode()
            rows[file.split] += 1


def file_of(split: SplitName, path: str, image: str, label: str) -> File:
    """Where an Arrow file of a split has its images; -1 stands for a label that is missing.

    Raises:
        InputError: a damaged file, a row without an image.
    """
    pa = need("pyarrow", EXTRA)
    found, row = [(np.zeros(0, np.int64),) * 3], 0
    try:
        with pa.memory_map(path) as mapped:
            first = mapped.read_buffer(1).address
            mapped.seek(0)
            for batch in pa.ipc.open_stream(mapped):
                column = batch.column(image)
                encoded = column.flatten()[column.type.get_field_index("bytes")]
                if encoded.null_count:
                    where = f"{path}: row {row + encoded.is_valid().index(False).as_py()}"
                    raise InputError(where, "no image, only its path or nothing", accepted="images inside the file")
                ends, labels = _ends(encoded), batch.column(label).fill_null(-1)
                start = encoded.buffers()[2].address - first if len(encoded) else 0
                found.append((start + ends[:-1], np.diff(ends), labels.to_numpy(zero_copy_only=False)))
                row += len(encoded)
            return File(split, path, *map(np.concatenate, zip(*found, strict=True)))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(path, f"cannot be read as an Arrow file: {str(error).splitlines()[0]}") from error


def _ends(encoded: Any) -> np.ndarray:
    """Where each of some byte strings begins in their buffer, and where the last one ends."""
    width = np.int64 if "large" in str(encoded.type) else np.int32
    ends = np.frombuffer(encoded.buffers()[1], width)[encoded.offset : encoded.offset + len(encoded) + 1]
    return ends.astype(np.int64) if len(encoded) else np.zeros(1, np.int64)


def _read(datasets: Any, root: Path) -> dict[str, Any]:
    """The data set of each split that there is, by the name it has there."""
    try:
        with _quiet(datasets):
            if not _is_saved(root):
                files = _parquet_in(root).items()
                return {split: datasets.Dataset.from_parquet([os.fspath(file) for file in own]) for split, own in files}
            found = datasets.load_from_disk(os.fspath(root), keep_in_memory=False)
            return dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    except (datasets.exceptions.DatasetsError, OSError, ValueError, KeyError, TypeError) as error:
        cause = str(error.__cause__ or error).splitlines() or [type(error).__name__]
        raise InputError(str(root), f"cannot be read as a data set of `datasets`: {cause[0]}") from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """No bars of progress and no messages, which would come between the lines of a command."""
    no_bars, log = datasets.are_progress_bars_disabled(), datasets.utils.logging
    before = log.get_verbosity()
    datasets.disable_progress_bars()
    log.set_verbosity(log.CRITICAL)
    try:
        yield
    finally:
        log.set_verbosity(before)
        if not no_bars:
            datasets.enable_progress_bars()


def _splits(root: Path, found: Mapping[str, Any]) -> tuple[dict[SplitName, Any], list[str]]:
    """The splits by the parts that they play, and what is said of others."""
    parts: dict[SplitName, Any] = {}
    for name, data in found.items():
        split = split_of(name)
        if split in parts:
            raise InputError(str(root), f"several splits are the {split} split", found=listed(list(found)))
        if split is not None:
            parts[split] = data
    if "train" not in parts:
        raise InputError(str(root), "no training split", found=listed(list(found)), accepted="train")
    others = [name for name in found if split_of(name) is None]
    return parts, [f"left out: splits of other names: {listed(others)}"] if others else []


def _columns(datasets: Any, root: Path, found: Mapping[SplitName, Any]) -> tuple[str, str]:
    """The column of images and that of classes, found by their types."""
    columns: list[str] = []
    for what, kind in (("images", datasets.Image), ("classes", datasets.ClassLabel)):
        for split, data in found.items():
            own = [name for name, feature in data.features.items() if isinstance(feature, kind)]
            if len(own) != 1:
                problem = f"{'several columns' if own else 'no column'} of {what}"
                shown = listed(own or [f"{name}: {type(f).__name__}" for name, f in data.features.items()])
                accepted = f"one column of the type {kind.__name__}"
                raise InputError(f"{root}: {split}", problem, found=shown, accepted=accepted)
            columns += own
    if len(set(columns)) != 2:
        raise InputError(str(root), "columns of the splits have different names", found=listed(sorted(set(columns))))
    return columns[0], columns[-1]


def _is_saved(root: Path) -> bool:
    return any((root / name).is_file() for name in SAVED)


def _parquet_in(root: Path) -> dict[SplitName, list[Path]]:
    """The parquet files of a folder, and of those in it that are called data or like a split, by split: a word of their
    path; without one they are train."""
    inside = [folder for folder in subfolders(root) if folder.name == "data" or split_of(folder.name)]
    found: dict[SplitName, list[Path]] = {}
    for file in sorted(file for folder in (root, *inside) for file in folder.glob("[!.]*.parquet")):
        words = re.split(r"[-_./]", file.relative_to(root).as_posix())
        found.setdefault(next((split for word in words if (split := split_of(word))), "train"), []).append(file)
    return found
