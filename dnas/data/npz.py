"""Data sets as `.npz` archives: read member by member, bounded by what the headers promise, pickles never loaded."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from dnas.data.dataset import Dataset, build
from dnas.errors import InputError

TRAIN = (
    ("x_train", "y_train"),
    ("X_train", "y_train"),
    ("X_train", "Y_train"),
    ("train_images", "train_labels"),
    ("train_x", "train_y"),
)
TEST = tuple((x.replace("train", "test"), y.replace("train", "test")) for x, y in TRAIN)
VALIDATION = tuple((x.replace("train", "val"), y.replace("train", "val")) for x, y in TRAIN)
WHOLE = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"))

_MAX_MEMBER_BYTES = 8 * 8 * 2**30
"""8 GiB of uint8 images may come as float64."""


def load_npz(path: Path, name: str, seed: int) -> Dataset:
    """Read the arrays `x_train, y_train, x_test, y_test` (or a known alternative) and, if there, `class_names`.

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

        def pair(names: tuple[tuple[str, str], ...]) -> tuple[np.ndarray, np.ndarray] | None:
            for x, y in names:
                if x in members and y in members:
                    return _member(where, archive, members[x]), _member(where, archive, members[y])
            if names is not WHOLE and (
                alone := [n for n in sorted({n for both in names for n in both}) if n in members]
            ):
                raise InputError(where, f"array '{alone[0]}' has no partner (images need labels, labels need images)")
            return None

        notes = []
        train, test = pair(TRAIN), None
        if train is None:
            train = pair(WHOLE)
        elif (test := pair(TEST)) is None and (test := pair(VALIDATION)) is not None:
            notes.append("no test arrays: the validation arrays serve as test")
        if train is None:
            accepted = "x_train, y_train, x_test, y_test; train_images, train_labels, ...; or images, labels"
            raise InputError(where, "no known array names", found=", ".join(sorted(members)), accepted=accepted)
        names = _member(where, archive, members["class_names"]) if "class_names" in members else None
        if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
            raise InputError(where, "class_names must be a list of strings", found=f"{names.dtype} {names.shape}")
    class_names = None if names is None else [str(n) for n in names]
    return build(where, name, train, test, class_names=class_names, seed=seed, notes=notes)


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
