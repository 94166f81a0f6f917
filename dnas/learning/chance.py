"""Whether an accuracy says more than guessing does."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int

from dnas.space import units

ERRORS = 2.0
"""Standard errors above chance up to which an accuracy cannot be told from it."""


def chance_level(labels: Int[np.ndarray, " images"], classes: int) -> float:
    """The accuracy of always answering the most frequent class of these images; at least 1 / classes."""
    share = np.bincount(labels).max() / len(labels) if len(labels) else 0.0
    return float(max(share, 1 / classes))


def at_chance(accuracy: float, images: int, chance: float) -> bool:
    """Whether an accuracy on `images` is within two standard errors of chance, or below it."""
    return accuracy <= chance + ERRORS * math.sqrt(chance * (1 - chance) / max(1, images))


def warning(accuracy: float, images: int, chance: float, advice: str) -> list[str]:
    """What to say of an accuracy at chance; nothing of a better one."""
    if not at_chance(accuracy, images, chance):
        return []
    text = (
        f"at chance: {units.accuracy(accuracy, images)} of {images:,} images are classified right, and always "
        f"answering the most frequent class gets {units.share(chance)}; the network has learned nothing that shows. "
        f"{advice}"
    )
    return [text.rstrip()]
