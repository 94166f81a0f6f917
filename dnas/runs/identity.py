"""What tells two runs apart, in words. A run's identity is a nested mapping of JSON values (see
`dnas.learning.checkpoint`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_DIGEST = re.compile("[0-9a-f]{16,}")
_NAMES = {
    "data": "other data", "space": "another space", "architecture": "another architecture", "tables": "another table",
    "start": "other weights to begin with", "teacher": "another teacher",
}  # fmt: skip
"""What is said where digests differ, which tell nobody anything."""
_UNSAID = {"precision": "float32"}
"""What is meant where an identity does not say it."""
SHOWN = 3
"""Differences that are named; the rest is counted."""


def differences(stored: Any, now: Any) -> list[str]:
    """`options.seed was 0, is 1` for every value that differs between two identities."""
    return [f"{place} was {_short(before)}, is {_short(after)}" for place, before, after in _changes(stored, now)]


def told_apart(there: Any, here: Any) -> str:
    """`seed 0 there, 1 here; other data`: what differs between the identity of a folder's run and that of this one."""
    found = list(dict.fromkeys(_said(*change) for change in _changes(there, here)))
    return shortened(found)


def shortened(found: list[str]) -> str:
    """The first differences, and how many more there are."""
    rest = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _changes(stored: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        for name in [*stored, *(name for name in now if name not in stored)]:
            before, after = (side.get(name, _UNSAID.get(name, _MISSING)) for side in (stored, now))
            yield from _changes(before, after, f"{place}.{name}" if place else str(name))
    elif stored != now or isinstance(stored, bool) != isinstance(now, bool):
        yield place, stored, now


def _said(place: str, there: Any, here: Any) -> str:
    top, _, rest = place.partition(".")
    if any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (there, here)):
        return _NAMES.get(top, f"another {top}")
    name = rest if top in ("settings", "recipe") else place
    return f"{name.removesuffix('s') if name == 'budgets' else name} {_plain(there)} there, {_plain(here)} here"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return _short(value) if not isinstance(value, str) else value[:60]


class _Missing:
    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
