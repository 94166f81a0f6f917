"""Values of Python as the commands have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnas.errors import InputError


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, of which numbers of numpy are those of Python."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def texts(where: str, given: str | Sequence[str]) -> list[str]:
    """One text or several, as a list; raises `InputError`."""
    found: list[Any] = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else [given]
    for text in found:
        if not isinstance(text, str):
            raise InputError(where, "not a text", found=text, accepted="such as '200MFLOPs', or a list of such texts")
    return found
