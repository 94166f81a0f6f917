"""Latency tables: one JSON file a device, with how it was measured and one entry a block, in milliseconds.

    {"name": "pixel3", "device": "Google Pixel 3", "runtime": "...", "unit": "ms",
     "measured": {"warm_up": 10, "repeats": 50, "statistic": "median", "threads": 1, "batch": 1, ...},
     "base": 2.8386, "in_base": ["conv", "pool", "linear"], "relative_to_skip": true,
     "entries": {"mbconv side=32 in=16 out=16 hidden=48": 0.693,
                 "skip side=32 in=16 out=24": {"ms": 0.1, "spread": 0.02}}}

The latency of a network is `base` plus the entries of its blocks. Blocks of the kinds `in_base` cost nothing where
they have no entry of their own, because `base` holds them. With `relative_to_skip` an entry is what the block costs
more than a skip of the same shape: entries may be negative, and a skip without an entry costs nothing. The keys are
those of `dnas.cost.keys`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from dnas.blocks import KINDS
from dnas.cost.keys import canonical
from dnas.errors import InputError, explained, suggestion
from dnas.files import MAX_JSON, TEXT, parse_json, read_bytes, write_json

MOST_MS = 1e12
"""A time is below this."""
Plain = str | int | float | bool | None


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One block: milliseconds, the spread of its repeats (ms; `Measured.spread` says which), and their number."""

    ms: float
    spread: float | None = None
    repeats: int | None = None


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the entries were measured."""

    warm_up: int | None = None
    repeats: int | None = None
    statistic: str | None = None
    spread: str | None = None
    threads: int | None = None
    precision: str | None = None
    batch: int | None = None
    versions: dict[str, str] = {}
    host: str | None = None
    load: float | str | None = None
    date: str | None = None
    duration_s: float | None = None
    note: str | None = None
    extra: dict[str, Plain] = {}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where numbers of others come from."""

    repository: str | None = None
    commit: str | None = None
    files: tuple[str, ...] = ()
    licence: str | None = None
    how: str | None = None


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a table was fitted to whole networks; figures are medians over splits, on the networks left out."""

    networks: int
    column: str
    method: str
    splits: int = 0
    held_out: int = 0
    r2: float | None = None
    mae_ms: float | None = None
    spearman: float | None = None
    least_squares: dict[str, float | None] = {}


class Crossed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Interpolation of one block kind: how, and its error on entries left out (|estimate / entry - 1|)."""

    entries: int
    method: str
    median_error: float | None = None
    p90_error: float | None = None


class LatencyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table as in its file."""

    name: str
    device: str
    runtime: str
    unit: Literal["ms"]
    entries: dict[str, float | Entry]
    about: str = ""
    measured: Measured = Measured()
    base: float = 0.0
    in_base: tuple[str, ...] = ()
    relative_to_skip: bool = False
    space: str | None = None
    """The space whose stem, head and skips `base` was measured in."""
    source: Source | None = None
    fit: Fit | None = None
    interpolation: dict[str, Crossed] = {}
    schema: Literal["dnas-latency-1"] = "dnas-latency-1"

    def ms(self, key: str) -> float:
        """The entry of a key, in milliseconds."""
        return milliseconds(self.entries[key])


def milliseconds(entry: float | Entry) -> float:
    """The time of an entry, in the table's unit."""
    return float(entry.ms if isinstance(entry, Entry) else entry)


TOP = LatencyTable.__struct_fields__
_NESTED = [name for part in (Measured, Source, Fit, Crossed) for name in part.__struct_fields__]


def read_table(path: str | Path) -> LatencyTable:
    """Reads and checks a table, its keys spelt as `dnas.cost.keys` does.

    Raises `InputError`, naming file and entry, for a file too large or cut off, unknown keys, an unknown block kind
    or field, a block named twice, and times that cannot be (not finite, negative where they are not relative).
    """
    shown = str(path)
    raw = read_bytes(Path(path), MAX_JSON)
    try:
        text = raw.decode(TEXT)
    except UnicodeDecodeError as error:
        raise InputError(shown, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    # Python writes NaN and Infinity although JSON has neither: named here with the entry they belong to.
    bad = re.search(r'"([^"\n]{0,400})"\s*:\s*(?:\{\s*"ms"\s*:\s*)?(NaN|-?Infinity)', text)
    if bad:
        raise InputError(shown, f"'{bad[1]}': not a finite number", found=bad[2])
    return table_from_data(parse_json(text, shown), shown)


def table_from_data(data: Any, shown: str) -> LatencyTable:
    """A table from parsed data, checked as `read_table` checks."""
    if not isinstance(data, dict):
        raise InputError(shown, "not a latency table", found=data, accepted="an object with " + ", ".join(TOP))
    if str(data.get("schema", "")).startswith("lut-facts"):
        raise InputError(
            shown, "a table in its source's own format", accepted="the result of: python -m dnas.lut import"
        )
    for key in data:
        if key not in TOP:
            raise InputError(shown, f"unknown key '{key}'{suggestion(key, TOP)}", accepted=", ".join(TOP))
    if data.get("unit", "ms") != "ms":
        raise InputError(f"{shown}: unit", "not accepted here", found=data["unit"], accepted="ms, entries converted")
    entries = data.get("entries")
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{shown}: entries", "no entries", found=entries or None, accepted="block: milliseconds")
    keys = canonical(list(entries), f"{shown}: entries")
    checked = {}
    for spelt, (written, value) in zip(keys, entries.items(), strict=True):
        if spelt in checked:
            raise InputError(f"{shown}: entries", f"the block '{spelt}' stands twice", found=written)
        checked[spelt] = _entry(value, f"{shown}: entries: {written}")
    try:
        table = msgspec.convert({**data, "entries": {}}, LatencyTable)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        raise InputError(f"{shown}: {place.rstrip('`')}" if place else shown, explained(problem, _NESTED)) from None
    table = msgspec.structs.replace(table, entries=checked)
    for kind in table.in_base:
        if kind not in KINDS:
            accepted = ", ".join(KINDS)
            raise InputError(
                f"{shown}: in_base", f"unknown block kind '{kind}'{suggestion(kind, KINDS)}", accepted=accepted
            )
    if not math.isfinite(table.base):
        raise InputError(f"{shown}: base", "not a finite number", found=table.base)
    check_signs(table, shown)
    return table


def _entry(value: Any, where: str) -> float | Entry:
    number = value
    if isinstance(value, dict):
        try:
            value = msgspec.convert(value, Entry)
        except msgspec.ValidationError as error:
            problem = str(error).replace(" - at `$", " at `entry")
            raise InputError(where, explained(problem, Entry.__struct_fields__)) from None
        number = value.ms
        if value.repeats is not None and value.repeats < 1:
            raise InputError(where, "repeats that cannot be", found=value.repeats, accepted="an integer from 1")
        if value.spread is not None and not (math.isfinite(value.spread) and value.spread >= 0):
            raise InputError(where, "a spread that cannot be", found=value.spread, accepted="milliseconds from 0")
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InputError(where, "not a time", found=number, accepted="milliseconds, or {ms, spread, repeats}")
    if not abs(number) < MOST_MS:
        raise InputError(where, "out of range", found=number, accepted=f"milliseconds below {MOST_MS:g}")
    return value if isinstance(value, Entry) else float(number)


def check_signs(table: LatencyTable, shown: str) -> None:
    """Raises `InputError` for a negative time in a table that is not relative."""
    if table.relative_to_skip:
        return
    if table.base < 0:
        raise InputError(f"{shown}: base", "negative", found=table.base, accepted="milliseconds from 0")
    for key, entry in table.entries.items():
        if milliseconds(entry) < 0:
            accepted = "times from 0, or relative_to_skip: true"
            raise InputError(f"{shown}: entries: {key}", "negative", found=milliseconds(entry), accepted=accepted)


def write_table(path: str | Path, table: LatencyTable) -> None:
    """Writes a table whole or not at all; equal tables give equal bytes."""
    data: Mapping[str, Any] = msgspec.to_builtins(table)
    first = ("schema", "name", "about", "device", "runtime", "unit", "space", "source", "measured", "fit",
             "interpolation", "relative_to_skip", "base", "in_base", "entries")  # fmt: skip
    data = {"schema": table.schema, "base": table.base, **data}
    write_json(Path(path), {key: data[key] for key in first if key in data and data[key] is not None})
