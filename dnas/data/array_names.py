"""What arrays are called in an `.npz` archive or a dict: which are images, which are labels, and of which split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from dnas.data.dataset import SplitName
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
_Found = dict[SplitName | None, tuple[list[str], list[str]]]
"""Split (None: not named) -> names of its arrays of images, and of labels, the one to be read first."""


def chosen(where: str, names: Iterable[str]) -> dict[SplitName, tuple[str, str]]:
    """The arrays (images, labels) of every split; arrays without a split's name are the training images."""
    found = _found(names)
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
        raise InputError(where, "no known array names", found=", ".join(sorted(names)), accepted=accepted)
    return result


def _found(among: Iterable[str]) -> _Found:
    """The arrays of known names; of several for one purpose, in the order of `IMAGES` and `LABELS`."""
    ranked: dict[SplitName | None, list[tuple[int, str]]] = {}
    words = (*IMAGES, *LABELS)
    for name in sorted(among):
        if match := _NAME.fullmatch(name.lower()):
            word = match["word"] or match["first"] or match["last"]
            split = NAMES.get(match["after"] or match["before"] or "")
            ranked.setdefault(split, []).append((words.index(word), name))
    return {
        split: ([n for rank, n in sorted(names) if rank < len(IMAGES)],
                [n for rank, n in sorted(names) if rank >= len(IMAGES)])
        for split, names in ranked.items()
    }  # fmt: skip


def left_out(names: Iterable[str], used: Mapping[SplitName, tuple[str, str]]) -> list[str]:
    """A note on arrays that are not read, where there are any."""
    unread = sorted(set(names) - {n for both in used.values() for n in both} - {CLASS_NAMES})
    return [f"left out: {counted(len(unread), 'array')} of other names: {listed(unread)}"] if unread else []


def class_names(where: str, names: np.ndarray) -> list[str]:
    """The names of the classes as text; raises `InputError`."""
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(where, "class_names must be a list of strings", found=f"{names.dtype} {names.shape}")
    return [str(n) for n in names]
