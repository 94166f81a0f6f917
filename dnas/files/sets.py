"""Files that belong together, replaced as a set: at any moment, also after a kill, a folder holds one set whole.

    with replacing(folder, former=names(folder), check=readable) as staged:
        write_json(staged / "architecture.json", ...)
        ...

The new files are written into a folder of their own inside the folder, read back by `check` and flushed to disk. Then
that folder is renamed to `MOVING`, in one step: from here on the new set is the one that is read (`current`). Its files
take their places, those of the former set that it lacks are removed, and `MOVING` goes. A move that was cut short is
finished by the next writer.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dnas.errors import InputError, cannot_write

STAGED = ".dnas-staged"
MOVING = ".dnas-moving"
_LIST = "files.json"
_MAX_LIST = 1 << 20
_PART = r"(?!\.{1,2}(/|$))[^/\\:\0]+"
DEEPEST = 3
"""Parts of the name of a file of a set: of the folder, of a folder in it, or of a folder in that."""
_NAME = re.compile(f"{_PART}(/{_PART}){{0,{DEEPEST - 1}}}")


class _Moving(NamedTuple):
    """What a set under way consists of."""

    files: tuple[str, ...]
    removed: tuple[str, ...]
    """Of the former set, which the new one lacks."""


def current(path: Path) -> Path:
    """Where the file of this path is found now: in its place, or still on its way there."""
    for folder in list(path.parents)[:DEEPEST]:
        moving = _moving(folder)
        if moving is not None:
            name = path.relative_to(folder).as_posix()
            under_way = folder / MOVING / name
            if name in moving.removed or (name in moving.files and under_way.is_file()):
                return under_way
    return path


def names(folder: Path) -> tuple[str, ...]:
    """The files of a folder that can belong to a set, sorted."""
    patterns = ("/".join("*" * depth) for depth in range(1, DEEPEST + 1))
    found = (p.relative_to(folder).as_posix() for pattern in patterns for p in folder.glob(pattern) if p.is_file())
    return tuple(sorted(name for name in found if _NAME.fullmatch(name)))


@contextmanager
def replacing(
    folder: Path, former: Sequence[str] = (), check: Callable[[Path], None] = lambda staged: None
) -> Iterator[Path]:
    """A folder to write the new set into; when the block ends it takes the place of the files `former`.

    Only one process at a time may do so (`dnas.files.lock`). Where the block or `check` raises, the former set stays.

    Raises:
        UserError: the files cannot be written, or one of their places is taken by a folder.
    """
    staged = folder / STAGED
    try:
        finish(folder)
        staged.mkdir()
        yield staged
        check(staged)
        files = names(staged)
        for name in files:
            if (folder / name).is_dir():
                raise InputError(str(folder / name), "a folder stands in the place of a file to be written")
        moving = _Moving(files, tuple(sorted({name for name in former if _NAME.fullmatch(name)} - set(files))))
        (staged / _LIST).write_text(json.dumps(moving._asdict()))
        _flush(staged)
        os.rename(staged, folder / MOVING)
        _move(folder, moving)
    except OSError as error:
        raise cannot_write(error.filename or folder, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def finish(folder: Path) -> None:
    """Ends a move that was cut short, and removes what a writer that was killed before it had staged."""
    moving = _moving(folder)
    if moving is not None:
        _move(folder, moving)
    for remains in (folder / MOVING, folder / STAGED):
        shutil.rmtree(remains, ignore_errors=True)


def _move(folder: Path, moving: _Moving) -> None:
    for name in moving.files:
        source, target = folder / MOVING / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    for name in moving.removed:
        (folder / name).unlink(missing_ok=True)
    listed = [Path(name) for name in (*moving.files, *moving.removed)]
    inner = {folder / part for name in listed for part in list(name.parents)[:-1]}
    for part in sorted(inner, key=lambda part: -len(part.parts)):  # the innermost first
        if part.is_dir() and not any(part.iterdir()):
            part.rmdir()
    for part in (*filter(Path.is_dir, inner), folder):
        _flush_folder(part)
    (folder / MOVING / _LIST).unlink()
    shutil.rmtree(folder / MOVING, ignore_errors=True)


def _moving(folder: Path) -> _Moving | None:
    """The set that is on its way into this folder; None where there is none, or none that one of ours could be."""
    file = folder / MOVING / _LIST
    try:
        if not file.is_file() or file.stat().st_size > _MAX_LIST:
            return None
        moving = _Moving(**{key: tuple(value) for key, value in json.loads(file.read_bytes()).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    listed = (*moving.files, *moving.removed)
    return moving if all(isinstance(name, str) and _NAME.fullmatch(name) for name in listed) else None


def _flush(folder: Path) -> None:
    """Returns when all files in the folder are on disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            _flush_folder(path)
        else:
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    """The names in a folder; Windows has no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems have none for folders
    finally:
        os.close(handle)
