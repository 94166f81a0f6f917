"""Raw arrays as a `Dataset`: checks of shapes, values and classes that every source goes through, and a test split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dnas.data.dataset import MAX_BYTES, Dataset, Images, Origin, Pair, SplitName
from dnas.data.shuffle import TEST_SPLIT, stratified
from dnas.data.stream.images import Streamed, joined, taken
from dnas.errors import InputError
from dnas.files import text_of

MAX_CHANNELS = 16
TEST_SHARE = 0.2

_CHUNK_BYTES = 1 << 24


def build(
    where: str,
    name: str,
    train: Pair,
    test: Pair | None = None,
    validation: Pair | None = None,
    *,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    skipped: Sequence[str] = (),
    notes: Sequence[str] = (),
    origin: Origin | None = None,
    image_name: Callable[[SplitName, int], str] = lambda split, number: f"{split} image {number}",
) -> Dataset:
    """Check raw (images, labels) pairs and make a `Dataset` of them.

    Images are uint8, or floats in [0, 1], of shape [N, S, S] or [N, S, S, C]; labels are integers of shape [N] or
    [N, 1]. Without `test`, `validation` serves as test; without both, 20 % of every class is held out by `seed`.
    `where` begins every message; `image_name` names an image in a note.

    Raises:
        InputError: bad shapes, types or values; fewer than two classes; a class without training images; test or
            validation images that differ from the training images in side, channels or classes.
    """
    notes = list(notes)
    train_images, train_labels = _pair(where, "train", train)
    names = _class_names(where, train_labels, class_names)
    others = {s: _fitting(where, s, p, train_images, names, notes) for s, p in _others(test, validation, notes).items()}
    notes += _one_colour({"train": train_images} | {s: p[0] for s, p in others.items()}, image_name)
    if "test" in others:
        test_images, test_labels = others["test"]
    else:
        rest, held = stratified(train_labels, TEST_SHARE, seed, TEST_SPLIT)
        if not len(held):
            raise InputError(
                where, "no test split, and too few images a class to hold one out", accepted=">= 2 a class"
            )
        notes.append(f"no test split given: {len(held)} of {len(train_labels)} images held out as test by seed {seed}")
        test_images, test_labels = taken(train_images, held), train_labels[held]
        train_images, train_labels = taken(train_images, rest), train_labels[rest]
    count = 0
    if "validation" in others:
        count = len(others["validation"][1])
        notes.append(f"the {count} validation images choose: the options in a search, the epoch in a training")
        train_images = joined(train_images, others["validation"][0])
        train_labels = np.concatenate([train_labels, others["validation"][1]])
    for array in (arrays := (train_images, train_labels, test_images, test_labels)):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return Dataset(name, *arrays, names, count, tuple(skipped), tuple(notes), origin)


def _others(test: Pair | None, validation: Pair | None, notes: list[str]) -> dict[SplitName, Pair]:
    """The splits beside train, by the part they play."""
    if test is not None:
        return {"test": test} if validation is None else {"test": test, "validation": validation}
    if validation is None:
        return {}
    notes.append("no test split: the validation split serves as test")
    return {"test": validation}


def _fitting(
    where: str, split: SplitName, pair: Pair, train_images: Images, names: Sequence[str], notes: list[str]
) -> Pair:
    """A further split, checked on its own and against the training images."""
    images, labels = _pair(where, split, pair)
    if images.shape[1:] != train_images.shape[1:]:
        raise InputError(
            where,
            f"{split} images differ in shape from the training images",
            found=images.shape[1:],
            accepted=train_images.shape[1:],
        )
    if labels.max() >= len(names):
        raise InputError(
            where,
            f"{split} labels name a class that no training image has",
            found=int(labels.max()),
            accepted=f"0 to {len(names) - 1}",
        )
    absent = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if len(absent):
        notes.append(f"the {split} split has no image of {len(absent)} classes, the first '{names[absent[0]]}'")
    return images, labels


def _one_colour(splits: dict[SplitName, Images], image_name: Callable[[SplitName, int], str]) -> list[str]:
    """A note where images in memory have nothing to see."""
    found = [(s, n) for s, images in splits.items() if isinstance(images, np.ndarray) for n in _constant(images)]
    if not found:
        return []
    total = sum(map(len, splits.values()))
    return [f"{len(found)} of {total} images are of one colour all over, the first {image_name(*found[0])}"]


def _constant(images: np.ndarray) -> list[int]:
    """Positions of the images whose pixels are all alike (of one pixel: none)."""
    if images.shape[1] == 1:
        return []
    step = max(1, _CHUNK_BYTES // images[0].size)
    chunks = (images[start : start + step] for start in range(0, len(images), step))
    alike = [(chunk == chunk[:, :1, :1]).all(axis=(1, 2, 3)) for chunk in chunks]
    return np.flatnonzero(np.concatenate(alike)).tolist()


def _pair(where: str, split: SplitName, pair: Pair) -> Pair:
    images = pair[0] if isinstance(pair[0], Streamed) else _check_images(where, split, pair[0])
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
    step = max(1, _CHUNK_BYTES // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        part = images[start : start + step]
        if not np.isfinite(part).all():
            raise InputError(where, f"{split} images hold NaN or infinite values")
        if part.min() < 0 or part.max() > 1:
            found = f"{float(part.min()):g} to {float(part.max()):g}"
            raise InputError(where, f"{split} images: floats out of range", found=found, accepted="0 to 1, or uint8")
        result[start : start + step] = np.rint(part.astype(np.float32) * 255)
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
    result = tuple(map(text_of, names)) if names is not None else tuple(map(str, range(count)))
    if len(set(result)) < count:
        raise InputError(where, "two classes have the same name")
    return result
