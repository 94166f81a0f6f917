"""A chart with two axes as a scene: lines, dots, references, shaded spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dnas.report.labels import Box, Labels, beside, dot_box, text_box
from dnas.report.scene import (
    SMALL,
    Dot,
    Item,
    Key,
    Point,
    Scene,
    Shape,
    Text,
    box,
    legend,
    line,
    number,
    shortened,
    text_width,
    thinned,
    ticks,
)

WIDTH, HEIGHT = 350.0, 250.0


@dataclass(frozen=True)
class Series:
    """One line, or dots where `dots`; `label` stands in the legend, `notes` are told point by point."""

    label: str
    points: tuple[Point, ...]
    colour: str
    dash: tuple[float, ...] = ()
    dots: bool = False
    hollow: bool = False
    faint: bool = False
    """Drawn thinner and paler: raw values below their smoothed line. Not in the legend."""
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Short texts written beside the dots."""


@dataclass(frozen=True)
class Chart:
    """What is drawn; `x_show` and `y_show` write values at the axes."""

    key: str
    title: str
    about: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    references: tuple[tuple[float, str], ...] = ()
    """Horizontal lines: value and name."""
    marks: tuple[tuple[float, str], ...] = ()
    """Vertical lines: value and name."""
    spans: tuple[tuple[float, float, str], ...] = ()
    """Shaded parts of the x axis: from, to, name."""
    from_zero: bool = False
    x_from_zero: bool = False
    x_show: Callable[[float], str] = number
    y_show: Callable[[float], str] = number


@dataclass(frozen=True)
class _Frame:
    """Where values lie in the picture."""

    left: float
    top: float
    right: float
    bottom: float
    x0: float
    x1: float
    y0: float
    y1: float

    def at(self, point: Point) -> Point:
        x = self.left + (point[0] - self.x0) / (self.x1 - self.x0) * (self.right - self.left)
        y = self.bottom - (point[1] - self.y0) / (self.y1 - self.y0) * (self.bottom - self.top)
        return x, y


def draw(chart: Chart) -> Scene:
    """The chart; the legend, where there are several series, grows the picture downwards."""
    named = [s for s in chart.series if s.points and not s.faint and s.label]
    keys, tall = legend([_key(s) for s in named] if len(named) > 1 else [], 2, HEIGHT + 12, WIDTH - 4)
    y_ticks, frame = _frame(chart)
    items: list[Item] = [*_spans(chart, frame), *_axes(chart, frame, y_ticks), *_lines(chart, frame)]
    for series in sorted(chart.series, key=lambda s: not s.faint):
        items += _drawn(series, frame)
    items += [*_labels(chart, frame, [item for item in items if isinstance(item, Dot)]), *keys]
    height = HEIGHT + (tall + 4 if keys else 0)
    return Scene(chart.key, chart.title, chart.about, WIDTH, height, tuple(items))


def _frame(chart: Chart) -> tuple[list[float], _Frame]:
    points = [p for s in chart.series for p in s.points]
    xs = [p[0] for p in points]
    xs += [value for value, _ in chart.marks]
    ys = [p[1] for p in points] + [value for value, _ in chart.references] + ([0.0] if chart.from_zero else [])
    y_ticks = ticks(min(ys or [0.0]), max(ys or [1.0]), 4)
    left = 12 + max(text_width(chart.y_show(t), SMALL) for t in y_ticks)
    x0, x1 = min(xs, default=0.0), max(xs, default=0.0)
    if chart.x_from_zero:
        x0 = 0.0
    if not chart.x_from_zero and any(s.dots for s in chart.series) or x1 <= x0:
        pad = 0.12 * (x1 - x0) or abs(x0) * 0.1 or 1.0
        x0, x1 = x0 - pad, x1 + pad
    return y_ticks, _Frame(left, 42, WIDTH - 10, HEIGHT - 34, x0, x1, y_ticks[0], y_ticks[-1])


def _axes(chart: Chart, frame: _Frame, y_ticks: Sequence[float]) -> list[Item]:
    items: list[Item] = [Text(2, 12, chart.y_label, SMALL)]
    for value in y_ticks:
        y = frame.at((0, value))[1]
        items.append(line(frame.left, y, frame.right, y, stroke="grid"))
        items.append(Text(frame.left - 6, y + 3.5, chart.y_show(value), SMALL, "end"))
    ends = 0.0
    for value in ticks(frame.x0, frame.x1, 4):
        x = frame.at((value, 0))[0]
        text = Text(min(x, frame.right - 6), frame.bottom + 16, chart.x_show(value), SMALL, "middle")
        room = text_box(text)
        if not frame.left - 1e-6 <= x <= frame.right + 1e-6 or room.x0 < ends or not text.text:
            continue
        ends = room.x1 + 4
        items += [line(x, frame.bottom, x, frame.bottom + 4, stroke="line"), text]
    items.append(line(frame.left, frame.bottom, frame.right, frame.bottom, stroke="line"))
    items.append(Text(frame.right, HEIGHT - 3, chart.x_label, SMALL, "end"))
    return items


def _spans(chart: Chart, frame: _Frame) -> list[Item]:
    items: list[Item] = []
    for n, (start, end, name) in enumerate(chart.spans):
        x0, x1 = frame.at((max(start, frame.x0), 0))[0], frame.at((min(end, frame.x1), 0))[0]
        if x1 <= x0:
            continue
        if n % 2 == 0:
            items.append(box(x0, frame.top - 4, x1 - x0, frame.bottom - frame.top + 4, fill="band"))
        if text_width(name, SMALL) <= x1 - x0 - 4:
            items.append(Text((x0 + x1) / 2, frame.top - 9, name, SMALL, "middle"))
    return items


def _drawn(series: Series, frame: _Frame) -> list[Item]:
    if not series.points:
        return []
    if not series.dots:
        points = tuple(map(frame.at, thinned(series.points)))
        if len(points) == 1:
            return [Dot(*points[0], 3, series.colour, series.colour, series.label)]
        width, opacity = (1.0, 0.35) if series.faint else (2.0, 1.0)
        return [Shape(points, series.colour, None, width, series.dash, opacity, series.label, data=True)]
    items: list[Item] = []
    for n, point in enumerate(series.points):
        x, y = frame.at(point)
        note = series.notes[n] if n < len(series.notes) else series.label
        items.append(Dot(x, y, 4.5, "paper" if series.hollow else series.colour, series.colour, note))
    return items


def _lines(chart: Chart, frame: _Frame) -> list[Item]:
    """The reference lines."""
    ys = [frame.at((0, value))[1] for value, _ in chart.references]
    xs = [frame.at((value, 0))[0] for value, _ in chart.marks]
    style = {"stroke": "ink", "width": 1.2, "dash": (1, 3)}
    across: list[Item] = [line(frame.left, y, frame.right, y, **style) for y in ys]
    return across + [line(x, frame.top, x, frame.bottom, **style) for x in xs]


def _labels(chart: Chart, frame: _Frame, dots: Sequence[Dot]) -> list[Text]:
    """The names of lines, then the texts beside dots; one that finds no free place is left to the dot's note."""
    labels = Labels(Box(frame.left, frame.top - 8, frame.right, frame.bottom), map(dot_box, dots))
    left, middle, right = frame.left + 3, (frame.left + frame.right) / 2, frame.right - 3
    for value, name in chart.references:
        y = frame.at((0, value))[1]
        places = [(x, anchor) for x, anchor in ((left, "start"), (right, "end"), (middle, "middle"))]
        labels.place([Text(x, y + d, name, SMALL, a, "ink") for d in (-4, 12, -17, 25) for x, a in places])
    for value, name in chart.marks:
        x = frame.at((value, 0))[0]
        heights = [frame.top + 4 + 13 * n for n in range(int((frame.bottom - frame.top) / 13))]
        labels.place([Text(x + d, y, name, SMALL, a, "ink") for d, a in ((-4, "end"), (4, "start")) for y in heights])
    for series in chart.series:
        for point, tag in zip(series.points, series.tags, strict=False):
            x, y = frame.at(point)
            labels.place(beside(shortened(tag, 150, SMALL), x, y, SMALL, 9))
    return labels.texts


def _key(series: Series) -> Key:
    return Key(series.label, series.colour, series.dash, ("paper" if series.hollow else series.colour) * series.dots)
