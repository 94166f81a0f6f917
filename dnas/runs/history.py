"""The rows that a search or a training writes, a JSON object a line; an `InputError` names the line that is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnas.errors import InputError
from dnas.files import parse_json, read_bytes
from dnas.runs.converted import Struct, converted
from dnas.runs.records import Epoch, Row

HISTORY = "history.jsonl"
MAX_HISTORY = 64 << 20
MAX_ROWS = 100_000
MAX_CHOICES = 4000


def read_history(path: Path, budgets: int | None = None) -> Iterator[Row]:
    """The rows of a search; `budgets` is how many costs a row must have, where it has any.

    Raises `InputError`, naming the line, for one that is cut off, no object, not finite or out of order.
    """
    for where, row in _records(path, Row):
        for key in ("expected", "multipliers"):
            values = getattr(row, key)
            if values is not None and budgets is not None and len(values) != budgets:
                raise InputError(f"{where}: {key}", f"{len(values)} numbers", accepted=f"{budgets}, one a budget")
        if row.probabilities is not None and len(row.probabilities) > MAX_CHOICES:
            raise InputError(where, f"{len(row.probabilities):,} choices", accepted=f"at most {MAX_CHOICES:,}")
        yield row


def read_epochs(path: Path) -> Iterator[Epoch]:
    """The rows of a training; raises `InputError` as `read_history` does."""
    yield from (epoch for _, epoch in _records(path, Epoch))


def _records(path: Path, kind: type[Struct]) -> Iterator[tuple[str, Any]]:
    """Each line as a record, with `file:line`; steps must grow."""
    last = -1
    for where, data in lines(path):
        row: Any = converted(data, kind, where)
        if row.step <= last:
            raise InputError(f"{where}: step", f"{row.step} after {last}", accepted="growing steps")
        last = row.step
        yield where, row


def lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's place and data."""
    written = text(path, MAX_HISTORY).splitlines()
    if not written:
        raise InputError(str(path), "no rows")
    if len(written) > MAX_ROWS:
        raise InputError(str(path), f"{len(written):,} rows", accepted=f"at most {MAX_ROWS:,}")
    for number, line in enumerate(written, 1):
        yield f"{path}:{number}", parse_json(line, str(path), number)


def text(path: Path, limit: int) -> str:
    """A file of at most so many bytes; raises `InputError`."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"not UTF-8 text: {error.reason} at byte {error.start}") from error
