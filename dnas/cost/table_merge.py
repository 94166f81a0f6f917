"""Latency tables of one device put together: every condition of measurement is compared first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dnas.cost.latency_table import Entry, LatencyTable, milliseconds
from dnas.errors import UserError

ALWAYS = ("unit", "relative_to_skip", "base", "in_base")
"""Fields that say what an entry is: nothing joins tables that differ in these."""
STATED = ("warm_up", "statistic", "spread", "threads", "precision", "batch")
"""Conditions that a table which does not state them leaves open: open and stated differ."""
HARMLESS = ("python", "numpy")
"""Versions that no time depends on."""
COURSE = ("planned", "measured_again", "still_disagreeing", "median_of_least_over_median")
"""What `measured.extra` says of how a measurement went, as against how it was made (`dnas.measure`)."""


class Difference(NamedTuple):
    """A condition in which a table differs from the first."""

    table: str
    what: str
    first: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.what}: {_plain(self.first)} and {_plain(self.other)}"


def merge_tables(
    tables: Sequence[LatencyTable], *, force: bool = False, tolerance: float = 0.05, name: str | None = None
) -> LatencyTable:
    """One table with the entries of all; where several have a block the first one's entry stays.

    Args:
        tables: measured on one device under the same conditions.
        force: merge tables whose conditions differ, and take the first entry where they disagree. The result's
            `measured.note` names what differed, and it states none of those conditions as its own.
        tolerance: the relative difference up to which two entries of a block agree.
        name: of the result; the first one's if not given.

    Raises `UserError` naming what differs and both values: device, runtime, unit, what entries are relative
    to, base, statistic, threads, batch, precision, warm-up, versions of the runtime, free conditions, a block's time.
    """
    first = tables[0]
    for other in tables[1:]:
        fixed = [_difference(first, other, what) for what in ALWAYS]
        _refuse(first, [d for d in fixed if d], "")
    differences = [d for other in tables[1:] for d in _conditions(first, other)]
    if not force:
        _refuse(first, differences, " (--force merges)")
    merged = _entries(tables, force, tolerance)
    result = _said(first, differences, tables)
    return msgspec.structs.replace(result, name=name or first.name, entries=merged, interpolation={}, fit=None)


def _entries(tables: Sequence[LatencyTable], force: bool, tolerance: float) -> dict[str, float | Entry]:
    merged: dict[str, float | Entry] = {}
    conflicts = []
    for table in tables:
        for key, entry in table.entries.items():
            if key not in merged:
                merged[key] = entry
                continue
            a, b = milliseconds(merged[key]), milliseconds(entry)
            if abs(a - b) > tolerance * max(abs(a), abs(b)):
                conflicts.append(f"'{key}' takes {a:g} and {b:g} ms")
    if conflicts and not force:
        more = f" and {len(conflicts) - 1:,} more blocks differ" if len(conflicts) > 1 else ""
        raise UserError(f"the tables disagree: {conflicts[0]}{more} (--force keeps the first)")
    return merged


def _conditions(first: LatencyTable, other: LatencyTable) -> Iterator[Difference]:
    """In what the measurements of two tables differ."""
    yield from filter(None, (_difference(first, other, what) for what in ("device", "runtime", "space")))
    a, b = first.measured, other.measured
    for what in STATED:
        if getattr(a, what) != getattr(b, what):
            yield Difference(other.name, what, getattr(a, what), getattr(b, what))
    for what, ours, theirs, left_out in (
        ("version of", a.versions, b.versions, HARMLESS), ("condition", a.extra, b.extra, COURSE)
    ):  # fmt: skip
        yield from _mapped(other.name, what, ours, theirs, left_out)


def _mapped(
    name: str, what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], left_out: Sequence[str]
) -> Iterator[Difference]:
    """Of free fields only those that both tables state can differ."""
    for key in ours:
        if key in theirs and key not in left_out and ours[key] != theirs[key]:
            yield Difference(name, f"{what} {key}", ours[key], theirs[key])


def _difference(first: LatencyTable, other: LatencyTable, what: str) -> Difference | None:
    a, b = getattr(first, what), getattr(other, what)
    return None if a == b else Difference(other.name, what, a, b)


def _refuse(first: LatencyTable, differences: Sequence[Difference], hint: str) -> None:
    if differences:
        other = differences[0].table
        listed = "; ".join(str(d) for d in differences if d.table == other)
        raise UserError(f"tables {first.name} and {other} differ in {listed}{hint}")


def _said(first: LatencyTable, differences: Sequence[Difference], tables: Sequence[LatencyTable]) -> LatencyTable:
    """The first table without conditions that are not those of all entries, and with a note of what was joined."""
    if not differences:
        return first
    a = first.measured
    told = [f"{d} ({first.name}, {d.table})" for d in differences]
    note = "; ".join([*([a.note] if a.note else []), "joined by --force although they differ in " + "; ".join(told)])
    names = {d.what for d in differences}
    measured = msgspec.structs.replace(
        a, note=note,
        versions={k: v for k, v in a.versions.items() if f"version of {k}" not in names},
        extra={k: v for k, v in a.extra.items() if f"condition {k}" not in names},
        **{what: None for what in STATED if what in names},
    )  # fmt: skip
    joined = {what: " and ".join(dict.fromkeys(getattr(t, what) for t in tables)) for what in ("device", "runtime")}
    space = None if "space" in names else first.space
    return msgspec.structs.replace(first, measured=measured, about="", space=space, **joined)


def _plain(value: Any) -> str:
    return "not stated" if value is None or value == "" else f"'{value}'" if isinstance(value, str) else str(value)
