"""Plain data as YAML text that people read: what is short stands on one line, and remarks stand beside their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

WIDTH = 100
"""Characters of a line of data; remarks come after."""


def yaml_text(data: Mapping[str, Any], remarks: Mapping[tuple, str], head: Sequence[str] = ()) -> str:
    """The text of a file; `head` are comments above it.

    Args:
        remarks: place in the data (keys and positions) -> what is said beside it, on one line.
    """
    lines = [f"# {line}".rstrip() for line in head]
    return "\n".join([*lines, *_block(data, (), 0, remarks)]) + "\n"


def _block(value: Any, place: tuple, indent: int, remarks: Mapping[tuple, str]) -> Iterator[str]:
    """Lines of a mapping or list, an entry after the other."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, inner in pairs:
        at, space = (*place, key), " " * indent
        start = f"{space}{_flow(key)}:" if isinstance(value, Mapping) else f"{space}-"
        line = f"{start} {_flow(inner)}"
        below = any(other[: len(at)] == at and other != at for other in remarks)
        block = isinstance(inner, Mapping) and len(inner) == 1 and not isinstance(value, Mapping)
        if not _divisible(inner) or (len(line) <= WIDTH and not below and not block):
            yield line + _remark(remarks.get(at))
        elif isinstance(value, Mapping):
            yield start + _remark(remarks.get(at))
            yield from _block(inner, at, indent + 2, remarks)
        else:
            first, *rest = _block(inner, at, indent + 2, remarks)
            yield f"{start} {first.lstrip()}"
            yield from rest


def _divisible(value: Any) -> bool:
    """Whether it can be written on several lines."""
    return isinstance(value, Mapping | list) and bool(value)


def _remark(text: str | None) -> str:
    return f"  # {text}" if text else ""


def _flow(value: Any) -> str:
    """The value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    written = yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True)
    return written.strip()[1:-1]
