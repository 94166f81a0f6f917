"""What data sets call their splits, in folders and in arrays, and how what was found is counted in a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dnas.data.dataset import SplitName
from dnas.files import text_of

NAMES: dict[str, SplitName] = {
    "train": "train", "training": "train", "trn": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test", "t10k": "test",
}  # fmt: skip
_BETWEEN = re.compile(r"[\W_]+")
SHOWN = 3
"""Names in a sentence; of more, only their number is told."""


def split_of(name: str) -> SplitName | None:
    """The split that a folder of this name holds, in any case and also as `test_set`, or None."""
    word = _BETWEEN.sub("", name.lower())
    return NAMES.get(word) or NAMES.get(word.removesuffix("set"))


def counted(number: int, one: str, many: str | None = None) -> str:
    """'1 image', '2 images'."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: Sequence[object]) -> str:
    """The first names, in print."""
    return ", ".join(text_of(str(name)) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
