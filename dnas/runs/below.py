"""The runs below a folder, and whether they have changed; nothing that lies elsewhere, whatever links lead there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dnas.runs.folder import SEEDS
from dnas.runs.seeds import RECORD, runs_within

MARKS = ("architecture.json", "history.partial.jsonl", "run.json", "comparison.json")
"""A folder with one of these is a run's, where it is not that of several seeds, which has runs below it."""
DEEP = 3
"""Folders inside folders in which runs are looked for."""


def inside(root: Path, path: str) -> Path | None:
    """The folder of a path below `root`; None for one that is not there or, links followed, lies elsewhere."""
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_dir() and found.is_relative_to(root) else None


def runs_below(folder: Path, deep: int = DEEP) -> Iterator[Path]:
    """The folder itself if it has a run's files, damaged or not; else the runs below it, seeds from the smallest on."""
    if (folder / SEEDS).is_dir():
        yield from runs_within(folder)
    elif folder.is_dir() and any(folder.glob("*.json*")):
        yield folder
    elif folder.is_dir() and deep:
        for path in sorted(folder.iterdir()):
            yield from runs_below(path, deep - 1)


def runs_of(root: Path, folder: Path, deep: int = DEEP) -> Iterator[Path]:
    """The folders of runs; not those that a run is made of, nor one any file of which lies elsewhere."""
    if not (folder / SEEDS).is_dir() and any((folder / name).is_file() for name in MARKS):
        if all(path.resolve().is_relative_to(root) for path in _links(folder)):
            yield folder
    elif deep:
        for path in sorted(folder.iterdir()):
            if inside(root, str(path.relative_to(root))) == path:
                yield from runs_of(root, path, deep - 1)


def _links(folder: Path) -> Iterator[Path]:
    """Every link below a folder, of which files may vanish meanwhile, as the checkpoints of a run do; and the record of
    several seeds, where that is one."""
    yield from (path for path in _above(folder) if path.is_symlink())
    for where, folders, files in os.walk(folder):
        yield from (path for name in (*folders, *files) if (path := Path(where, name)).is_symlink())


def state(root: Path, folder: Path) -> str:
    """A digest of the names, sizes and times of the runs' files."""
    found = hashlib.sha256()
    for path in (path for run in runs_of(root, folder) for path in (*sorted(run.glob("*.json*")), *_above(run))):
        with suppress(FileNotFoundError):  # a run that ends removes files
            known = path.stat()
            found.update(os.fsencode(path) + f" {known.st_size} {known.st_mtime_ns}\n".encode())
    return found.hexdigest()


def _above(run: Path) -> tuple[Path, ...]:
    """The record of several seeds that a run is one of, whether it is there or not."""
    return (run.parents[1] / RECORD,) if run.parent.name == SEEDS else ()
