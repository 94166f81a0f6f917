"""Texts in a picture that do not lie on each other: each is tried in a few places, and the first free one is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from dnas.report.scene import Dot, Text, text_width


class Box(NamedTuple):
    """Left, top, right and bottom."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Box) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def holds(self, other: Box) -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and other.x1 <= self.x1 and other.y1 <= self.y1


def text_box(text: Text) -> Box:
    """The room of a text: its width as estimated, its height with ascenders and descenders."""
    wide = text_width(text.text, text.size)
    left = text.x - {"start": 0.0, "middle": wide / 2, "end": wide}[text.anchor]
    return Box(left, text.y - 0.95 * text.size, left + wide, text.y + 0.25 * text.size)


def dot_box(dot: Dot) -> Box:
    """The room that a dot takes."""
    reach = dot.radius + 1
    return Box(dot.x - reach, dot.y - reach, dot.x + reach, dot.y + reach)


def beside(text: str, x: float, y: float, size: float, gap: float) -> list[Text]:
    """Places around a point: right, left, above, below, then further up and down on both sides."""
    sides = [("start", gap), ("end", -gap)]
    places = [(anchor, x + off, y + 0.35 * size) for anchor, off in sides]
    places += [("middle", x, y - gap), ("middle", x, y + gap + 0.8 * size)]
    for step in (1, -1, 2, -2, 3, -3):
        places += [(anchor, x + off, y + 0.35 * size + 1.25 * size * step) for anchor, off in sides]
    return [Text(px, py, text, size, anchor, "ink") for anchor, px, py in places]


class Labels:
    """The texts placed so far, and what else takes room."""

    def __init__(self, frame: Box, taken: Iterable[Box] = ()):
        self.frame, self.taken = frame, list(taken)
        self.texts: list[Text] = []

    def place(self, candidates: Sequence[Text]) -> bool:
        """Takes the first candidate that is free and inside the frame; whether there was one."""
        for text in candidates:
            room = text_box(text)
            if self.frame.holds(room) and not any(room.meets(other) for other in self.taken):
                self.taken.append(room)
                self.texts.append(replace(text))
                return True
        return False
