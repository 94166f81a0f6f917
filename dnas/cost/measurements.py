"""Latencies of whole networks of a space, from a CSV file, and which blocks each of them has."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnas.cost.keys import block_keys
from dnas.errors import InputError, UserError, suggestion
from dnas.files import TEXT, read_bytes
from dnas.graph import graph_of
from dnas.space.quantity import Quantity
from dnas.space.space import Space

MAX_CSV = 64 << 20
MAX_COLUMNS = 3000


@dataclass(frozen=True)
class Measurements:
    """Whole networks of a space with their latency: `options` [networks, choices] are option indices."""

    options: np.ndarray
    ms: np.ndarray
    column: str


def read_measurements(path: str | Path, space: Space, column: str | None = None) -> Measurements:
    """Reads a CSV with a column `arch` and one or more columns of latencies.

    `arch` has one option index a choice of the space, in its order: digits in a row where no choice has more than
    ten options (`7818488874147327324245`), else separated by dashes. A column ending in `_us` or `_s` is converted.

    Raises `InputError` naming file, line and value.
    """
    shown = str(path)
    try:
        text = read_bytes(Path(path), MAX_CSV).decode(TEXT)
    except UnicodeDecodeError as error:
        raise InputError(shown, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    rows = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    if "arch" not in header:
        raise InputError(f"{shown}:1", "no column 'arch'", found=header, accepted="arch and columns of latencies")
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{shown}:1", f"the column '{name}' stands twice")
    others = [name for name in header if name != "arch"]
    if not others:
        raise InputError(f"{shown}:1", "no column of latencies", found=header)
    if column is None:
        if len(others) != 1:
            raise InputError(f"{shown}:1", "which column?", accepted="--column " + " or ".join(others))
        column = others[0]
    known = {n.removesuffix("_ms"): n for n in others} | {n: n for n in others}
    if column not in known:
        raise InputError(f"{shown}:1", f"no column '{column}'{suggestion(column, others)}", accepted=", ".join(others))
    column = known[column]
    scale = 1e-3 if column.endswith("_us") else 1e3 if column.endswith("_s") else 1.0
    arch, at = header.index("arch"), header.index(column)
    options, ms = [], []
    try:
        for row in rows:
            if not row:
                continue
            where = f"{shown}:{rows.line_num}"
            if len(row) != len(header):
                raise InputError(where, f"{len(row)} values", accepted=f"{len(header)}, as in the first line")
            options.append(_options(row[arch], space, where))
            ms.append(_latency(row[at], where) * scale)
    except csv.Error as error:
        raise InputError(f"{shown}:{rows.line_num}", f"not CSV: {error}") from error
    if not ms:
        raise InputError(shown, "no measurements")
    return Measurements(np.array(options, dtype=np.int64), np.array(ms), column)


def _options(text: str, space: Space, where: str) -> list[int]:
    digits = all(len(c) <= 10 for c in space.choices) and "-" not in text
    parts = list(text.strip()) if digits else text.strip().split("-")
    if len(parts) != len(space.choices):
        accepted = f"{len(space.choices)} option indices, one a choice of {space.name}"
        raise InputError(where, f"{len(parts)} options", found=text, accepted=accepted)
    result = []
    for part, choice in zip(parts, space.choices, strict=True):
        if not part.isdecimal() or int(part) >= len(choice):
            raise InputError(
                f"{where}: {choice.name}", "no such option", found=part, accepted=f"0 to {len(choice) - 1}"
            )
        result.append(int(part))
    return result


def _latency(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e12:
        raise InputError(where, "not a latency", found=text, accepted="a number above 0")
    return value


@dataclass(frozen=True)
class Design:
    """Which blocks the networks have: `counts` [networks, keys]; `always` are the keys every network has alike."""

    keys: tuple[str, ...]
    counts: np.ndarray
    always: tuple[str, ...]


def design(space: Space, options: np.ndarray) -> Design:
    """Counts of every block but skips (entries are relative to them) and those that are in all networks alike."""
    position = {c.name: n for n, c in enumerate(space.choices)}
    columns: dict[str, np.ndarray] = {}
    for use in graph_of(space).uses:
        if use.kind == "skip":
            continue
        given, keys = _at(use.given, options, position), _at(block_keys(use), options, position)
        for key in dict.fromkeys(keys.tolist()):
            column = columns.setdefault(key, np.zeros(len(options)))
            column += given * (keys == key)
        if len(columns) > MAX_COLUMNS:
            raise UserError(f"space {space.name} has too many distinct blocks to fit (over {MAX_COLUMNS:,})")
    varying = [k for k, column in columns.items() if np.ptp(column)]
    always = tuple(k for k, column in columns.items() if not np.ptp(column) and column[0])
    if len(options) <= len(varying):
        raise UserError(f"{len(options):,} networks cannot tell {len(varying):,} blocks of space {space.name} apart")
    return Design(tuple(varying), np.stack([columns[k] for k in varying], axis=1), always)


def _at(quantity: Quantity, options: np.ndarray, position: dict[str, int]) -> np.ndarray:
    index = tuple(options[:, position[c.name]] for c in quantity.over)
    return quantity.table[index] if index else np.full(len(options), quantity.table[()])
