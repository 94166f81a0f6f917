"""How long the trainings that are left will take, by those behind.

A training is a beginning (compiling, until its first steps are reported) and steps, which take longer the more
multiply-adds they have. Both are means over the trainings of this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class Clock:
    """Follows trainings, one after the other.

    Args:
        macs: of each training's network, in the order in which they run.
        now: seconds.
    """

    def __init__(self, macs: Sequence[int], now: Callable[[], float] = time.monotonic):
        self.macs, self.now = [max(1, m) for m in macs], now
        self.at, self.name, self.line = -1, "", ""
        self.beginnings: list[float] = []
        """Seconds of each beginning."""
        self.seconds = self.work = 0.0
        """Of the steps after the beginnings of trainings that have ended, and their multiply-adds."""
        self.steps = 0
        self._begin()

    def begin(self, name: str) -> None:
        """The next training begins."""
        self.at, self.name, self.line = self.at + 1, name, "preparing"
        self._begin()

    def note(self, step: int, steps: int, line: str) -> None:
        """`step` of `steps` are done; `line` is what is said of them."""
        self.line, self.steps = line, steps
        if self.step is None:
            self.start = step
        elif not self.going and step > self.start:
            self.going, self.start = self.now(), step
            self.beginnings.append(self.going - self.begun)
        self.step = step

    def end(self) -> None:
        """It has ended."""
        seconds, work = self._current()
        self.seconds, self.work = self.seconds + seconds, self.work + work

    def left(self) -> float | None:
        """Seconds until all have ended; None where nothing is known yet."""
        seconds, work = self._current()
        seconds, work = seconds + self.seconds, work + self.work
        if not self.beginnings or not work:
            return None
        beginning, pace = sum(self.beginnings) / len(self.beginnings), seconds / work
        later = sum(beginning + pace * macs * self.steps for macs in self.macs[self.at + 1 :])
        mine = pace * self.macs[self.at] * (self.steps - (self.step or 0))
        waiting = 0.0 if self.going else max(0.0, beginning - (self.now() - self.begun))
        return mine + waiting + later

    def standing(self) -> str:
        """Where things stand, for people."""
        left = self.left()
        parts = [self.name, *([f"step {self.step} of {self.steps}"] if self.step else []), self.line]
        return ", ".join(filter(None, parts)) + ("" if left is None else f"; about {shown(left)} left")

    def _begin(self) -> None:
        self.begun, self.going, self.start = self.now(), 0.0, 0
        self.step: int | None = None

    def _current(self) -> tuple[float, float]:
        """Seconds and multiply-adds of the steps of the training at work, after its beginning."""
        if not self.going or self.step is None:
            return 0.0, 0.0
        return self.now() - self.going, float(self.macs[self.at] * (self.step - self.start))


def shown(seconds: float) -> str:
    """A time for people: `40 s`, `25 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
