"""The last lines of a command: which commands come next, ready to copy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

Next = tuple[str, str]
"""A command, and what it does in a few words."""


def command(name: str, *arguments: object) -> str:
    """`python -m dnas.NAME ARGUMENTS`, quoted for a shell."""
    return shlex.join(["python", "-m", f"dnas.{name}", *map(str, arguments)])


def lines(following: Sequence[Next]) -> list[str]:
    """For people; nothing where nothing follows."""
    if not following:
        return []
    width = min(72, max(len(text) for text, _ in following))
    return ["next:", *(f"  {text:{width}}  # {about}" for text, about in following)]
