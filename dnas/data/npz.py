"""Data sets as `.npz` archives: read member by member, bounded by what the headers promise, pickles never loaded."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from dnas.data.dataset import Dataset, Origin, Pair, SplitName, build
from dnas.data.names import NAMES, counted, listed
from dnas.errors import InputError

IMAGES = ("x", "images", "image", "imgs", "data", "inputs")
"""What arrays of images are called, alone or before or after the name of a split; the first that is there is read."""
LABELS = ("y", "labels", "label", "targets", "target")
CLASS_NAMES = "class_names"

_WORDS, _SPLITS = "|".join((*IMAGES, *LABELS)), "|".join(NAMES)
_NAME = re.compile(
    rf"(?P<word>{_WORDS})|(?P<first>{_WORDS})[-_. ]?(?P<after>{_SPLITS})|(?P<before>{_SPLITS})[-_. ]?(?P<last>{_WORDS})"
)
_MAX_MEMBER_BYTES = 8 * 8 * 2**30
"""8 GiB of uint8 images may come as float64."""
_Members = dict[str, zipfile.ZipInfo]
_Found = dict[SplitName | None, tuple[list[str], list[str]]]
"""Split (None: not named) -> names of its arrays of images, and of labels, the one to be read first."""


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
        used = _chosen(where, members)
        pairs: dict[SplitName, Pair] = {
            split: (_member(where, archive, members[x]), _member(where, archive, members[y]))
            for split, (x, y) in used.items()
        }
        class_names = _names(where, archive, members)
    unread = sorted(set(members) - {n for both in used.values() for n in both} - {CLASS_NAMES})
    notes = [f"left out: {counted(len(unread), 'array')} of other names: {listed(unread)}"] if unread else []
    if origin is None:
        with path.open("rb") as stream:
            origin = Origin("npz", path, hashlib.file_digest(stream, "sha256").hexdigest())
    return build(
        where, name, pairs["train"], pairs.get("test"), pairs.get("validation"), class_names=class_names, seed=seed,
        notes=notes, origin=origin,
    )  # fmt: skip


def _chosen(where: str, members: _Members) -> dict[SplitName, tuple[str, str]]:
    """The arrays (images, labels) of every split; arrays without a split's name are the training images."""
    found = _found(members)
    for split, (images, labels) in found.items():
        if split is not None and (not images or not labels):
            alone = [*images, *labels][0]
            raise InputError(where, f"array '{alone}' has no partner (images need labels, labels need images)")
    pairs = {split: (images[0], labels[0]) for split, (images, labels) in found.items() if images and labels}
    whole = pairs.pop(None, None)
    result = {split: pair for split, pair in pairs.items() if split is not None}
    if whole is not None:
        result.setdefault("train", whole)
    if "train" not in result:
        accepted = "x_train, y_train, x_test, y_test; train_images, train_labels, ...; or images, labels"
        raise InputError(where, "no known array names", found=", ".join(sorted(members)), accepted=accepted)
    return result


def _found(members: _Members) -> _Found:
    """The arrays of known names; of several for one purpose, in the order of `IMAGES` and `LABELS`."""
    ranked: dict[SplitName | None, list[tuple[int, str]]] = {}
    words = (*IMAGES, *LABELS)
    for name in sorted(members):
        if match := _NAME.fullmatch(name.lower()):
            word = match["word"] or match["first"] or match["last"]
            split = NAMES.get(match["after"] or match["before"] or "")
            ranked.setdefault(split, []).append((words.index(word), name))
    return {
        split: ([n for rank, n in sorted(names) if rank < len(IMAGES)],
                [n for rank, n in sorted(names) if rank >= len(IMAGES)])
        for split, names in ranked.items()
    }  # fmt: skip


def _names(where: str, archive: zipfile.ZipFile, members: _Members) -> list[str] | None:
    if CLASS_NAMES not in members:
        return None
    names = _member(where, archive, members[CLASS_NAMES])
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(where, "class_names must be a list of strings", found=f"{names.dtype} {names.shape}")
    return [str(n) for n in names]


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
