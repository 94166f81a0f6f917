"""Data sets as IDX files, the format of MNIST and its relatives, plain or gzipped.

An IDX file is: two zero bytes, a type byte (8: unsigned bytes, the only one read here), the number of dimensions, each
dimension as a big-endian 32-bit integer, then the values.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from dnas.data.dataset import MAX_BYTES, Dataset, build
from dnas.errors import InputError

_DEFLATE_LIMIT = 1100
"""No gzip file grows by more than this factor (the format's bound is 1032)."""


def find_idx(folder: Path, stem: str) -> Path | None:
    """`folder`'s file for `stem` (such as 'train-images-idx3-ubyte'), also with '.idx3' or '.gz', or None."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def is_idx_folder(folder: Path) -> bool:
    """Whether the folder holds any of the four standard files."""
    stems = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return any(find_idx(folder, stem) for stem in stems)


def load_idx(folder: Path, name: str, seed: int) -> Dataset:
    """Read `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and, if there, both `t10k-...` files.

    Raises:
        InputError: a file missing from a pair, a wrong magic number, dimensions that do not match the length, or bad
            contents.
    """
    train, test = _split(folder, "train"), _split(folder, "t10k")
    if train is None:
        raise InputError(str(folder), "no training files", accepted="train-images-idx3-ubyte[.gz] and its labels")
    return build(str(folder), name, train, test, seed=seed)


def read_idx(path: Path, dims: int) -> np.ndarray:
    """The values of one file, uint8, with `dims` dimensions; every byte is accounted for.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    where = str(path)
    zipped = path.suffix == ".gz"
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


def _split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    images = find_idx(folder, f"{split}-images-idx3-ubyte")
    labels = find_idx(folder, f"{split}-labels-idx1-ubyte")
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise InputError(
            str(folder), f"only one of the two {split} files is there", found=(images or labels or folder).name
        )
    return read_idx(images, 3), read_idx(labels, 1)
