"""The one form in which all data reaches a search, and the checks that every source goes through.

`Dataset` holds uint8 images and int32 labels, read-only. `build` makes one from raw arrays: it checks shapes, values
and classes, and holds out a test split where the source has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dnas.data.shuffle import TEST_SPLIT, stratified
from dnas.errors import InputError

MAX_BYTES = 8 * 2**30
"""Bound on the images of one data set in memory, as uint8."""
MAX_CHANNELS = 16
TEST_SHARE = 0.2

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in memory; arrays are read-only. N images, square side S, C channels, labels 0..classes-1."""

    name: str
    train_images: np.ndarray
    """uint8 [N, S, S, C]"""
    train_labels: np.ndarray
    """int32 [N]"""
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    """Unreadable images that were left out, relative to the data folder."""
    notes: tuple[str, ...] = ()
    """What the user should be told about how the splits came about."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.train_images.shape[3]

    @property
    def side(self) -> int:
        """Pixels along a side of the (square) images."""
        return self.train_images.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the class names and over shape, type and bytes of the four arrays, in hex."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.shape}{array.dtype.name}".encode())
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
        return digest.hexdigest()


def build(
    where: str,
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    skipped: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Check raw (images, labels) pairs and make a `Dataset` of them.

    Images are uint8, or floats in [0, 1], of shape [N, S, S] or [N, S, S, C]; labels are integers of shape [N] or
    [N, 1]. Without `test`, 20 % of every class is held out by `seed`. `where` begins every message.

    Raises:
        InputError: bad shapes, types or values; fewer than two classes; a class without training images; test images
            that differ from the training images in side, channels or classes.
    """
    notes = list(notes)
    train_images, train_labels = _pair(where, "train", train)
    names = _class_names(where, train_labels, class_names)
    if test is None:
        rest, held = stratified(train_labels, TEST_SHARE, seed, TEST_SPLIT)
        if not len(held):
            raise InputError(
                where, "no test split, and too few images a class to hold one out", accepted=">= 2 a class"
            )
        notes.append(f"no test split given: {len(held)} of {len(train_labels)} images held out as test by seed {seed}")
        test_images, test_labels = train_images[held], train_labels[held]
        train_images, train_labels = train_images[rest], train_labels[rest]
    else:
        test_images, test_labels = _pair(where, "test", test)
        if test_images.shape[1:] != train_images.shape[1:]:
            raise InputError(
                where,
                "test images differ in shape from the training images",
                found=test_images.shape[1:],
                accepted=train_images.shape[1:],
            )
        if test_labels.max() >= len(names):
            raise InputError(
                where,
                "test labels name a class that no training image has",
                found=int(test_labels.max()),
                accepted=f"0 to {len(names) - 1}",
            )
        absent = np.flatnonzero(np.bincount(test_labels, minlength=len(names)) == 0)
        if len(absent):
            notes.append(f"the test split has no image of {len(absent)} classes, the first '{names[absent[0]]}'")
    for array in (arrays := (train_images, train_labels, test_images, test_labels)):
        array.flags.writeable = False
    return Dataset(name, *arrays, class_names=names, skipped=tuple(skipped), notes=tuple(notes))


def _pair(where: str, split: str, pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    images = _check_images(where, split, pair[0])
    labels = _check_labels(where, split, pair[1])
    if len(images) != len(labels):
        raise InputError(where, f"{split}: {len(images)} images but {len(labels)} labels")
    if not len(labels):
        raise InputError(where, f"{split}: no images")
    return images, labels


def _check_images(where: str, split: str, images: np.ndarray) -> np.ndarray:
    """uint8 [N, S, S, C], a fresh array or a view of a read-only one."""
    accepted = "[N, S, S] or [N, S, S, C], square, channels last"
    if images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise InputError(where, f"{split} images have a wrong shape", found=images.shape, accepted=accepted)
    if images.shape[1] != images.shape[2]:
        raise InputError(where, f"{split} images are not square", found=images.shape, accepted=accepted)
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] > MAX_CHANNELS:
        raise InputError(
            where, f"{split} images have too many channels", found=images.shape[3], accepted=f"1 to {MAX_CHANNELS}"
        )
    if images.size > MAX_BYTES:
        raise InputError(where, f"{split} images take {images.size / 2**30:.1f} GiB as uint8", accepted="up to 8 GiB")
    if images.dtype == np.uint8:
        return images.view()
    if images.dtype.kind != "f":
        raise InputError(
            where,
            f"{split} images have a wrong type",
            found=str(images.dtype),
            accepted="uint8, or floats in [0, 1]",
        )
    result = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        if not np.isfinite(part).all():
            raise InputError(where, f"{split} images hold NaN or infinite values")
        if part.min() < 0 or part.max() > 1:
            found = f"{float(part.min()):g} to {float(part.max()):g}"
            raise InputError(where, f"{split} images: floats out of range", found=found, accepted="0 to 1, or uint8")
        result[start : start + _CHUNK] = np.rint(part.astype(np.float32) * 255)
    return result


def _check_labels(where: str, split: str, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise InputError(where, f"{split} labels are not integers", found=str(labels.dtype), accepted="an integer type")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(where, f"{split} labels have a wrong shape", found=labels.shape, accepted="[N] or [N, 1]")
    if len(labels) and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        bad = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise InputError(where, f"{split} labels out of range", found=bad, accepted="0 to classes - 1")
    return labels.astype(np.int32)


def _class_names(where: str, labels: np.ndarray, names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes 0..K-1, every one of which has a training image."""
    highest = int(labels.max())
    if names is not None and highest >= len(names):
        raise InputError(where, "train labels out of range", found=highest, accepted=f"0 to {len(names) - 1}")
    count = len(names) if names is not None else highest + 1
    if count > len(labels):
        raise InputError(where, f"{count} classes but only {len(labels)} training images: classes without images")
    absent = np.flatnonzero(np.bincount(labels, minlength=count) == 0)
    if len(absent):
        label = names[absent[0]] if names is not None else absent[0]
        raise InputError(
            where, f"class '{label}' has no training image", accepted=f"every class 0 to {count - 1} at least once"
        )
    if count < 2:
        raise InputError(where, "only one class", accepted="at least two")
    result = tuple(map(str, names)) if names is not None else tuple(map(str, range(count)))
    if len(set(result)) < count:
        raise InputError(where, "two classes have the same name")
    return result
