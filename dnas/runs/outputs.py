"""Whether a command may write a file of its own: a page, a plan, an export, a table."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dnas.errors import InputError
from dnas.runs.folder import files_of_result

DEEPEST = 3
"""Folders above a file in which a run may have it among its results: RUN/family/400kFLOPs/history.jsonl."""


def check_output(
    path: Path, *, overwrite: bool = False, ours: bytes | None = None, inputs: Iterable[Path] = ()
) -> None:
    """Raises `InputError` where `path` may not be written.

    Never what the command reads (`inputs`), nor a file of a run's result. Other files are replaced with `overwrite`, or
    where their first bytes say that the command wrote them itself (`ours`).
    """
    if path.is_dir():
        raise InputError(str(path), "a folder, not a file")
    if not os.path.lexists(path):
        return
    if any(other.exists() and path.exists() and path.samefile(other) for other in inputs):
        raise InputError(str(path), "is read here, and would be lost", accepted="another file")
    if _is_of_result(path):
        raise InputError(str(path), "belongs to a run's result, which would be lost", accepted="another file")
    if not overwrite and not (ours is not None and _begins(path, ours)):
        raise InputError(str(path), "exists already", accepted="another file, or --overwrite")


def _is_of_result(path: Path) -> bool:
    """Through links as well: what is replaced is found by its true name."""
    true = path.absolute().parent.resolve() / path.name
    return any(true.relative_to(folder).as_posix() in files_of_result(folder) for folder in true.parents[:DEEPEST])


def _begins(path: Path, ours: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(ours)) == ours
