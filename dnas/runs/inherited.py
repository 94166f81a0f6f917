"""The accuracies with which a search ends, as its file has them: of the supernet, and of the network found with the
weights that it inherits, each with batch norms as they are (`NAME_before`) and estimated again (`NAME`)."""

from __future__ import annotations

import re
from collections.abc import Mapping


def inherited(accuracies: Mapping[str, float]) -> tuple[str, float] | None:
    """Name and value of the last one of the network found; None where none is known."""
    after = [(name, value) for name, value in accuracies.items() if not name.endswith("_before") and name != "soft"]
    return after[-1] if after else None


def images_of(split: str) -> int | None:
    """On how many images they were measured, by the words on that (`accuracy_split`)."""
    images = re.search(r"(\d[\d,]*) images", split)
    return int(images[1].replace(",", "")) if images else None
