"""Data sets as `.npz` archives: read member by member, bounded by what the headers promise, pickles never loaded."""

from __future__ import annotations

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np

from dnas.data.array_names import CLASS_NAMES, chosen, class_names, left_out
from dnas.data.build import build
from dnas.data.dataset import Dataset, Origin, Pair, SplitName
from dnas.errors import InputError

_MAX_MEMBER_BYTES = 8 * 8 * 2**30
"""8 GiB of uint8 images may come as float64."""


def load_npz(path: Path, name: str, seed: int, origin: Origin | None = None) -> Dataset:
    """Read the arrays `x_train, y_train, x_test, y_test` (or a known alternative) and, if there, `class_names`.

    Args:
        origin: what is recorded as the source; this file, with its fingerprint, if not given.

    Raises:
        InputError: not an archive, cut short, pickled objects, unknown array names, or bad contents.
    """
    where = str(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InputError(where, "not an .npz archive, or cut short") from error
    except OSError as error:
        raise InputError(where, f"cannot be read: {error.strerror or error}") from error
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        used = chosen(where, members)
        pairs: dict[SplitName, Pair] = {
            split: (_member(where, archive, members[x]), _member(where, archive, members[y]))
            for split, (x, y) in used.items()
        }
        classes = _names(where, archive, members)
    if origin is None:
        with path.open("rb") as stream:
            origin = Origin("npz", path, hashlib.file_digest(stream, "sha256").hexdigest())
    return build(
        where, name, pairs["train"], pairs.get("test"), pairs.get("validation"), class_names=classes, seed=seed,
        notes=left_out(members, used), origin=origin,
    )  # fmt: skip


def _names(where: str, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> list[str] | None:
    if CLASS_NAMES not in members:
        return None
    return class_names(where, _member(where, archive, members[CLASS_NAMES]))


def _member(where: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its header has been checked against the archive's own record of its length."""
    label = info.filename.removesuffix(".npy")
    try:
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"npy format {version} is not supported")
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise InputError(where, f"array '{label}' holds pickled Python objects, which are never loaded")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > info.file_size - header_bytes:
            raise InputError(where, f"array '{label}' is shorter than its header says", found=shape)
        if info.file_size > _MAX_MEMBER_BYTES:
            raise InputError(where, f"array '{label}' takes {info.file_size / 2**30:.1f} GiB", accepted="up to 64 GiB")
        with archive.open(info) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # a damaged archive can fail anywhere in zipfile, zlib, lzma, ast or numpy
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(where, f"array '{label}' cannot be read: {reason}") from error
