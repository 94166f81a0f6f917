"""Data sets as IDX files, the format of MNIST and its relatives, plain or gzipped.

An IDX file is: two zero bytes, a type byte (8: unsigned bytes, the only one read here), the number of dimensions, each
dimension as a big-endian 32-bit integer, then the values.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import zlib
from pathlib import Path

import numpy as np

from dnas.data.build import build
from dnas.data.dataset import MAX_BYTES, SPLITS, Dataset, Origin, Pair, SplitName
from dnas.data.names import NAMES, counted, listed
from dnas.errors import InputError

_NAME = re.compile(rf"(?P<split>{'|'.join(NAMES)})-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
_DEFLATE_LIMIT = 1100
"""No gzip file grows by more than this factor (the format's bound is 1032)."""


def idx_files(folder: Path) -> tuple[dict[tuple[SplitName, str], Path], list[str]]:
    """The folder's files by split and kind ('images', 'labels'), and the names of all else that it holds.

    They are called `train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte.gz` and so on, in any case, with any of the usual
    names of splits; of a plain and a gzipped file the plain one is taken.

    Raises:
        InputError: the folder cannot be read.
    """
    found: dict[tuple[SplitName, str], Path] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(str(folder), f"cannot be read: {error.strerror or error}") from error
    for entry in entries:  # a plain file stands before its gzipped one
        match = _NAME.fullmatch(entry.name.lower())
        if match and entry.is_file():
            found.setdefault((NAMES[match["split"]], match["kind"]), entry)
    taken = set(found.values())
    return found, [entry.name for entry in entries if entry not in taken]


def is_idx_folder(folder: Path) -> bool:
    """Whether the folder holds any file of a known name."""
    return bool(idx_files(folder)[0])


def load_idx(folder: Path, name: str, seed: int) -> Dataset:
    """Read the images and labels of the training split and, if there, of test and validation.

    Raises:
        InputError: a file missing from a pair, a wrong magic number, dimensions that do not match the length, or bad
            contents.
    """
    files, others = idx_files(folder)
    there = {split for split, _ in files}
    pairs = {split: _pair(folder, files, split) for split in SPLITS if split in there}
    if "train" not in pairs:
        raise InputError(str(folder), "no training files", accepted="train-images-idx3-ubyte[.gz] and its labels")
    digest = hashlib.sha256()
    for key in sorted(files):
        with files[key].open("rb") as stream:
            digest.update(files[key].name.encode(errors="surrogateescape"))
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    notes = [f"left out: {counted(len(others), 'other file')}: {listed(others)}"] if others else []
    return build(
        str(folder), name, pairs["train"], pairs.get("test"), pairs.get("validation"), seed=seed, notes=notes,
        origin=Origin("idx", folder, digest.hexdigest()),
    )  # fmt: skip


def read_idx(path: Path, dims: int) -> np.ndarray:
    """The values of one file, uint8, with `dims` dimensions; every byte is accounted for.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    where = str(path)
    zipped = path.suffix.lower() == ".gz"
    try:
        size = path.stat().st_size
        with gzip.open(path) if zipped else path.open("rb") as stream:
            header = stream.read(4 + 4 * dims)
            if len(header) >= 4 and header[:4] != bytes([0, 0, 8, dims]):
                accepted = f"0000080{dims}, unsigned bytes in {dims} dimensions"
                raise InputError(where, "wrong magic number", found=header[:4].hex(), accepted=accepted)
            if len(header) < 4 + 4 * dims:
                raise InputError(where, "cut short inside its header", found=f"{len(header)} bytes")
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
            expected = math.prod(shape)
            if expected > MAX_BYTES:
                raise InputError(where, "too large", found=shape, accepted="up to 8 GiB")
            if expected > (size * _DEFLATE_LIMIT if zipped else size):
                raise InputError(where, "cut short: fewer values than its header says", found=shape)
            values = stream.read(expected + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(where, f"damaged or cut short: {error}") from error
    except OSError as error:
        raise InputError(where, f"cannot be read: {error.strerror or error}") from error
    if len(values) != expected:
        problem = "cut short" if len(values) < expected else "longer than its header says"
        raise InputError(where, problem, found=f"shape {shape}", accepted=f"{expected} bytes of values")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _pair(folder: Path, files: dict[tuple[SplitName, str], Path], split: SplitName) -> Pair:
    images, labels = files.get((split, "images")), files.get((split, "labels"))
    if images is None or labels is None:
        found = (images or labels or folder).name
        raise InputError(str(folder), f"only one of the two {split} files is there", found=found)
    return read_idx(images, 3), read_idx(labels, 1)
