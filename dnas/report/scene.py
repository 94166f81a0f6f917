"""Pictures as data: a scene of lines, dots and texts in a box, drawn as SVG by `dnas.report.svg`, as PNG by `.png`.

Colours are named by role, so that one scene serves light and dark pages: `ink`, `muted`, `grid`, `paper`, `s0`..`s7`
(series), `k0`..`k4` (kinds) and `r0`..`r8` (a ramp from little to much). Lengths are CSS pixels at the intended size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SERIES = 8
KINDS = 5
RAMP = 9
TEXT = 11.5
"""Size of ordinary text."""
SMALL = 10.5

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A polyline, or a filled outline where `fill` is set. `data` marks what shows values (not axes and frames)."""

    points: tuple[Point, ...]
    stroke: str | None = None
    fill: str | None = None
    width: float = 1.0
    dash: tuple[float, ...] = ()
    opacity: float = 1.0
    note: str = ""
    """Told when the pointer rests on it."""
    data: bool = False


@dataclass(frozen=True)
class Dot:
    """A disc, or a ring where `fill` is `paper`."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str
    note: str = ""
    data: bool = True


@dataclass(frozen=True)
class Text:
    """One line of text; `anchor` is start, middle or end of it."""

    x: float
    y: float
    text: str
    size: float = TEXT
    anchor: str = "start"
    colour: str = "muted"
    bold: bool = False


Item = Shape | Dot | Text


@dataclass(frozen=True)
class Scene:
    """A picture of `width` x `height`; `title` and `about` say in words what it shows."""

    key: str
    title: str
    about: str
    width: float
    height: float
    items: tuple[Item, ...]

    @property
    def has_data(self) -> bool:
        return any(not isinstance(item, Text) and item.data for item in self.items)


def box(x: float, y: float, wide: float, tall: float, **style: Any) -> Shape:
    """A rectangle."""
    right, bottom = x + wide, y + tall
    return Shape(((x, y), (right, y), (right, bottom), (x, bottom)), **style)


def line(x0: float, y0: float, x1: float, y1: float, **style: Any) -> Shape:
    """A straight line between two points."""
    return Shape(((x0, y0), (x1, y1)), **style)


def text_width(text: str, size: float = TEXT) -> float:
    """About how wide a text is: fonts differ, this is on the wide side."""
    narrow = sum(char in "iljtf.,:;|!'()[] " for char in text)
    wide = sum(char in "mwMW%@" for char in text)
    return size * (0.58 * len(text) - 0.24 * narrow + 0.27 * wide)


def shortened(text: str, room: float, size: float = TEXT) -> str:
    """The text, its middle left out where it needs more than `room`."""
    if text_width(text, size) <= room:
        return text
    for keep in range(len(text) - 1, 1, -1):
        tail = keep // 2
        cut = f"{text[: keep - tail]}…{text[-tail:]}"
        if text_width(cut, size) <= room:
            return cut
    return f"{text[:1]}…"


def ramp(share: float) -> str:
    """The ramp's role for a share from 0 to 1."""
    return f"r{min(RAMP - 1, max(0, round(share * (RAMP - 1))))}"


def series(index: int) -> str:
    """The colour of the data's series with that number."""
    return f"s{index % SERIES}"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about as many as asked for."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def number(value: float) -> str:
    """A number for an axis: 0.25, 1.5k, 200M."""
    size = abs(value)
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{value / scale:.4g}{unit}"
    return f"{value:.3g}"


def thinned(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most about `most` of the points, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(n * step)] for n in range(most)]


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a line, or a dot of this fill."""

    name: str
    colour: str
    dash: tuple[float, ...] = ()
    dot: str = ""


def legend(entries: Sequence[Key], x: float, y: float, room: float) -> tuple[list[Item], float]:
    """Entries side by side in as many rows as needed; the items and their height."""
    items: list[Item] = []
    at, row = x, 0
    for entry in entries:
        shown = shortened(entry.name, min(room - 30, 190), SMALL)
        needed = 24 + text_width(shown, SMALL) + 10
        if at > x and at + needed > x + room:
            at, row = x, row + 1
        base = y + 16 * row
        if entry.dot:
            items.append(Dot(at + 8, base - 3.5, 4, entry.dot, entry.colour, data=False))
        else:
            items.append(line(at, base - 3.5, at + 16, base - 3.5, stroke=entry.colour, width=2.5, dash=entry.dash))
        items.append(Text(at + 21, base, shown, SMALL, colour="ink"))
        at += needed
    return items, 16.0 * (row + 1) if entries else 0.0


def within(scene: Scene) -> bool:
    """Whether every shape and dot lies in the picture."""
    return all(-0.5 <= x <= scene.width + 0.5 and -0.5 <= y <= scene.height + 0.5 for x, y in _points(scene.items))


def _points(items: Iterable[Item]) -> Iterable[Point]:
    for item in items:
        match item:
            case Shape():
                yield from item.points
            case Dot():
                yield item.x, item.y
            case Text():
                yield item.x, item.y
