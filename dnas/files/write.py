"""Files written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dnas.errors import InputError, UserError, cannot_write
from dnas.files.names import escaped

_SURROGATES = re.compile("[\ud800-\udfff]")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes `path` so that a reader, or a crash, sees the former file whole or the new one whole."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes | str], *, overwrite: bool = True) -> None:
    """Writes files that belong together: each whole or not at all, and none takes its place before all are written.

    Raises `UserError` with what to try where one cannot be written or, without `overwrite`, where other contents stand
    in its place; then all former files stand.
    """
    staged: dict[Path, str] = {}
    path = Path()
    if not overwrite:
        _refuse_others(files)
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without the whole name, which may be as long as names can be.
            handle, staged[path] = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
            with os.fdopen(handle, "wb") as file:
                file.write(_encoded(data))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(staged[path], 0o644)
        for path in staged:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        for path, name in staged.items():
            os.replace(name, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except ValueError as error:  # a null byte in the name
        raise UserError(f"{str(path)!r}: not a file name: {error}") from error
    finally:
        for name in staged.values():
            if os.path.exists(name):
                os.unlink(name)


@contextmanager
def replacing_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place as `path` where the block ends; if it does not end, nothing changes."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)


def _encoded(data: bytes | str) -> bytes:
    return _SURROGATES.sub(escaped, data).encode() if isinstance(data, str) else data


def holds_other(path: Path, data: bytes | str) -> bool:
    """Whether something stands there that has other contents; raises `UserError` where it cannot be read."""
    content = _encoded(data)
    try:
        same = not os.path.lexists(path) or path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError as error:
        raise cannot_write(path, error) from error
    return not same


def _refuse_others(files: Mapping[Path, bytes | str]) -> None:
    for path, data in files.items():
        if holds_other(path, data):
            raise InputError(
                str(path), "is there already, and is another one", accepted="--overwrite, or another --out"
            )


def to_json(value: Any) -> str:
    """Canonical JSON: two spaces, keys in the order given, a newline at the end; equal values give equal bytes.

    What is not UTF-8 in a text is escaped as in `text_of`: readers refuse half a character.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return _SURROGATES.sub(lambda found: "\\" + escaped(found), text) + "\n"


def json_lines(rows: Iterable[Any]) -> str:
    """A line of JSON for each row."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def plain(value: Any) -> Any:
    """The value as it is read back from the JSON that `to_json` makes of it."""
    return json.loads(to_json(value))


def write_json(path: Path, value: Any) -> None:
    """Writes a value as `to_json` gives it, as `write_atomic` does."""
    write_atomic(path, to_json(value))
