"""What cannot be right in a latency table.

`unusable` findings stop a search too (`dnas.cost.latency`); `suspicious` ones are only told. What makes a file
unreadable in the first place - cut off, NaN, negative where absolute, a block named twice, unknown keys - is found by
`dnas.cost.latency_table.read_table`.

A measured time is off by some noise, so a larger block a few per cent faster than a smaller one says nothing. Each
entry's noise is its spread, where the table has it, and at least what two passes of the measurement may disagree by;
only what lies beyond the noise of both entries is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from dnas.blocks import KINDS
from dnas.cost.interpolate import Blocks, fitted_rates
from dnas.cost.keys import parse_key
from dnas.cost.latency_table import Entry, LatencyTable

Described = dict[str, tuple[Blocks, np.ndarray, list[str]]]
"""Kind -> its working entries as numbers, times, keys: `dnas.cost.latency.entries_by_kind`."""
ENOUGH = 8
"""Entries of a kind below which nothing is said about their proportions."""
UNIT, FAR = (200.0, 5000.0), 10.0
NOISE = 0.05
"""Relative noise of an entry of a table that says nothing of it."""
BEYOND = 2.0
"""Noises of a difference from which on it is told."""
ALIKE = 8
"""Neighbouring repeats that count as one: what disturbs a measurement lasts longer than a repeat."""
UNCERTAIN = 0.1
"""Relative error of an entry from which on it is told."""
ODD = 1 / 1.8
"""Share of a smaller block's time below which a larger one is odd whatever the noise: about twice as fast."""
SLOW, FAST = 1e5, 2e10
"""Multiply-adds in a millisecond outside which a whole table looks misunited: a microcontroller, a large GPU."""


class Finding(NamedTuple):
    """One thing that cannot be, or hardly can."""

    level: Literal["unusable", "suspicious"]
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def check_table(table: LatencyTable, entries: Described) -> list[Finding]:
    """Everything found, unusable first."""
    found = [*unusable(table, entries), *_zeros(table, entries), *_proportions(table, entries)]
    found += [*_odd_sizes(table), *_spreads(table), *_throughput(table, entries)]
    return sorted(found, key=lambda f: f.level != "unusable")


def unusable(table: LatencyTable, entries: Described) -> list[Finding]:
    """What stops a search as well as `dnas lut check`."""
    return [*nothing_takes_time(table, entries), *wrong_units(table, entries)]


def wrong_units(table: LatencyTable, entries: Described) -> list[Finding]:
    """Entries about 1000 times off what the others of their kind say: microseconds or seconds among milliseconds."""
    found = []
    for key, ratio, around in _ratios(table, entries):
        if max(around, 1 / around) < UNIT[0] / 2:
            continue  # the blocks next to it are as odd: the model does not hold there
        if UNIT[0] <= ratio <= UNIT[1]:
            text = f"{ratio:.0f} times what the other entries say: looks like us rather than ms"
        elif UNIT[0] <= 1 / ratio <= UNIT[1] and not table.relative_to_skip:
            text = f"{1 / ratio:.0f} times less than the other entries say: looks like s rather than ms"
        else:
            continue
        found.append(Finding("unusable", key, f"{table.ms(key):g} ms is {text}"))
    return found


def _proportions(table: LatencyTable, entries: Described) -> list[Finding]:
    if table.relative_to_skip:
        return []
    wrong = {f.key for f in wrong_units(table, entries)}
    return [
        Finding("suspicious", key, f"{table.ms(key):g} ms is {ratio:.2g} times what the other entries say")
        for key, ratio, _ in _ratios(table, entries)
        if key not in wrong
    ]


def _ratios(table: LatencyTable, entries: Described) -> list[tuple[str, float, float]]:
    """Key; entry over a robust model of its kind (rates times work); the same over that of its nearest entries.

    Of positive entries of well measured kinds.
    """
    result = []
    for blocks, ms, keys in entries.values():
        positive = np.flatnonzero(ms > 0)
        if len(positive) < ENOUGH:
            continue
        blocks, ms = blocks.take(positive), ms[positive]
        matrix = blocks.matrix(list(blocks.features))
        log_ratio = _from_line(np.log(matrix.sum(1)), np.log(ms))
        for _ in range(3):
            kept = np.abs(log_ratio) < math.log(30)
            model = (matrix * fitted_rates(matrix[kept], ms[kept])).sum(1)
            log_ratio = np.log(ms / np.maximum(model, 1e-300))
            log_ratio -= np.median(log_ratio[kept])
        log_ratio = np.clip(log_ratio, -99, 99)
        for row in np.flatnonzero(np.abs(log_ratio) > math.log(FAR)).tolist():
            around = log_ratio[row] - _nearest(blocks, log_ratio, row)
            result.append((keys[positive[row]], math.exp(log_ratio[row]), math.exp(around)))
    return result


def _from_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Residuals of the line of least absolute error: no single time, however wrong, moves it far."""
    design, weight = np.stack([np.ones_like(x), x], axis=1), np.ones_like(x)
    left = y
    for _ in range(30):
        weighted = design * weight[:, None]
        line = np.linalg.solve(weighted.T @ design + 1e-9 * np.eye(2), weighted.T @ y)
        left = y - design @ line
        weight = 1 / np.maximum(np.abs(left), 1e-3)
    return left


def _nearest(blocks: Blocks, values: np.ndarray, row: int, count: int = 4) -> float:
    """The median of the nearest entries of the same category (kernel, stride, flags, activation); 0 without any."""
    same = [n for n, c in enumerate(blocks.categories) if n != row and c == blocks.categories[row]]
    sizes = blocks.sizes(list(blocks.logs))
    distance = ((sizes[same] - sizes[row]) ** 2).sum(-1)
    near = np.array(same, int)[np.argsort(distance, kind="stable")[:count]]
    return float(np.median(values[near])) if len(near) else 0.0


def nothing_takes_time(table: LatencyTable, entries: Described) -> list[Finding]:
    """No block that does work has a time above 0, and nothing else either: no network would cost anything."""
    times = [time for _, ms, _ in entries.values() for time in ms.tolist()]
    if table.relative_to_skip:
        below = bool(times) and max(times) <= 0 and table.base <= 0
        return [Finding("unusable", "", "no entry is above 0, nor is the base: no network takes time")] * below
    if not times or any(times):
        return []
    return [Finding("unusable", "", "0 ms for every block that does work: no network can be told from another")]


def _zeros(table: LatencyTable, entries: Described) -> list[Finding]:
    if table.relative_to_skip or nothing_takes_time(table, entries):
        return []
    return [
        Finding("suspicious", keys[row], "0 ms for a block that does work")
        for _, ms, keys in entries.values()
        for row in np.flatnonzero(ms == 0)
    ]


class Pair(NamedTuple):
    """A block that takes less time than one that is much smaller in `size` and the same otherwise."""

    larger: str
    smaller: str
    size: str
    value: int
    """Of the smaller block."""


def _odd_sizes(table: LatencyTable) -> list[Finding]:
    """Blocks faster than much smaller ones, or slower than much larger ones, each told once.

    Which entry of a pair is wrong, its other pairs say: the one that stands in most is told first, and its pairs with
    it; where neither stands in others, it is the larger block.
    """
    left, found = _faster(table), []
    while left:
        count = Counter(key for pair in left for key in (pair.larger, pair.smaller))
        most = max(count.values())
        key = next((p.larger for p in left if count[p.larger] == most), "")
        key = key or next(p.smaller for p in left if count[p.smaller] == most)
        mine = [pair for pair in left if key in (pair.larger, pair.smaller)]
        found.append(Finding("suspicious", key, _told(table, key, mine)))
        left = [pair for pair in left if pair not in mine]
    return found


def _told(table: LatencyTable, key: str, pairs: Sequence[Pair]) -> str:
    faster = [p for p in pairs if p.larger == key]
    if faster:
        first, more = faster[0], f" ({len(faster)} such smaller blocks)" if len(faster) > 1 else ""
        return (
            f"{table.ms(key):g} ms, faster than the {table.ms(first.smaller):g} ms of {first.size}={first.value}{more}"
        )
    first, more = pairs[0], f" ({len(pairs)} such larger blocks)" if len(pairs) > 1 else ""
    return f"{table.ms(key):g} ms, slower than the {table.ms(first.larger):g} ms of '{first.larger}'{more}"


def _faster(table: LatencyTable) -> list[Pair]:
    """Blocks faster than the same block with a much smaller hidden width or kernel (or side or width, if absolute)."""
    found = []
    parsed: dict[str, dict[str, dict]] = {}
    for key in table.entries:
        kind, values = parse_key(key, key)
        parsed.setdefault(kind, {})[key] = values
    for kind, entries in parsed.items():
        fields = KINDS[kind].fields
        sizes = [n for n, f in fields.items() if f.searchable and "integer" in f.accepts and f.part_of is None]
        # Of two inputs or outputs the skips differ too, and with them what the entries are relative to.
        sizes = [n for n in sizes if n != "out"] if table.relative_to_skip else ["side", "in", *sizes]
        for size in sizes:
            # A squeeze-excite width that follows from the hidden width moves with it.
            follow = {n for n, f in fields.items() if f.part_of and size in getattr(f.default, "text", "")}
            groups: dict[tuple, list[tuple[int, str]]] = {}
            for key, values in entries.items():
                value = values.get(size, fields[size].default if size in fields else None)
                if isinstance(value, int):
                    rest = tuple((n, v) for n, v in values.items() if n != size and n not in follow)
                    groups.setdefault(rest, []).append((value, key))
            found += [pair for members in groups.values() for pair in _inversions(table, size, sorted(members))]
    return found


def _inversions(table: LatencyTable, size: str, members: list[tuple[int, str]]) -> list[Pair]:
    """Entries below the one of the next much smaller size; `members` are (size, key), ascending."""
    found = []
    for n, (large, key) in enumerate(members):
        if not table.relative_to_skip and not table.ms(key):
            continue  # told as a zero
        small, other = next(((v, k) for v, k in reversed(members[:n]) if large >= 1.5 * v), (0, key))
        if small and 0 < table.ms(other) and table.ms(key) < _least(table, key, other) * table.ms(other):
            found.append(Pair(key, other, size, small))
    return found


def _least(table: LatencyTable, key: str, other: str) -> float:
    """Share of the `other` block's time that noise may leave of a block as slow."""
    passes = table.measured.extra.get("disagreement_allowed")
    least = passes / 2 if isinstance(passes, int | float) and 0 < passes < 1 else NOISE
    noise = math.hypot(*(max(least, _uncertain(table.entries[k])) for k in (key, other)))
    return max(1 - BEYOND * noise, ODD)


def _uncertain(entry: float | Entry) -> float:
    """Relative error of an entry by its spread: that of a median of its repeats; 0 where it has none."""
    if not isinstance(entry, Entry) or entry.spread is None or entry.ms <= 0:
        return 0.0
    deviation = entry.spread / 2.56 / entry.ms
    return 1.25 * deviation / math.sqrt(max(1.0, (entry.repeats or 1) / ALIKE))


def _spreads(table: LatencyTable) -> list[Finding]:
    return [
        Finding("suspicious", key, f"spread {entry.spread:g} ms on {entry.ms:g} ms")
        for key, entry in table.entries.items()
        if isinstance(entry, Entry) and _uncertain(entry) > UNCERTAIN
    ]


def _throughput(table: LatencyTable, entries: Described) -> list[Finding]:
    """A whole table in another unit cannot be told from its proportions, only from a throughput no device has."""
    speeds = []
    for blocks, ms, _ in entries.values():
        macs = np.sum([v for n, v in blocks.features.items() if n.startswith(".")] or [np.zeros(len(ms))], axis=0)
        speeds += (macs / np.maximum(ms, 1e-30))[(ms > 0) & (macs > 0)].tolist()
    if not speeds or SLOW <= np.median(speeds) <= FAST:
        return []
    text = f"{np.median(speeds) * 1e3:.3g} multiply-adds in a second by the median entry: is the unit ms?"
    return [Finding("suspicious", "", text)]
