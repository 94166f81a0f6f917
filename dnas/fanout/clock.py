"""How long the tasks that are left will take, by those that have ended and by how far those at work are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dnas.fanout.task import Standing


class Clock:
    """Follows tasks, several at a time.

    Args:
        work: of each task, in any unit.
        count: tasks at a time.
        now: seconds.
    """

    def __init__(self, work: Sequence[float], count: int, now: Callable[[], float] = time.monotonic):
        self.work, self.count, self.now = [max(w, 1e-9) for w in work], count, now
        self.begun: dict[int, float] = {}
        """Of the tasks at work: when each began."""
        self.far: dict[int, tuple[str, Standing]] = {}
        """The same: its name, and how far it is."""
        self.done: set[int] = set()
        self.seconds = self.worked = 0.0
        """Of the tasks that have ended, and their work."""

    def begin(self, number: int) -> None:
        """A task begins, or begins again."""
        self.begun[number] = self.now()
        self.far.pop(number, None)

    def note(self, number: int, name: str, standing: Standing) -> None:
        """How far a task at work is."""
        self.far[number] = name, standing

    def end(self, number: int) -> None:
        """A task has ended."""
        self.seconds += self.now() - self.begun.pop(number)
        self.worked += self.work[number]
        self.far.pop(number, None)
        self.done.add(number)

    def left(self) -> float | None:
        """Seconds until all have ended; None where nothing is known yet."""
        ages = {number: self.now() - begun for number, begun in self.begun.items()}
        shares = {number: self.far[number][1].share if number in self.far else 0.0 for number in ages}
        moving = [number for number, share in shares.items() if share > 0]
        worked = self.worked + sum(self.work[n] * shares[n] for n in moving)
        if not worked:
            return None
        pace = (self.seconds + sum(ages[n] for n in moving)) / worked
        # Of a task that tells no steps, what its age leaves of the time that the others took.
        own = [
            pace * self.work[n] * (1 - share) if share else max(0.0, pace * self.work[n] - ages[n])
            for n, share in shares.items()
        ]
        others = [w for n, w in enumerate(self.work) if n not in self.done and n not in ages]
        return max([(sum(own) + pace * sum(others)) / self.count, *own])

    def standing(self) -> str:
        """Where things stand, for people; may be asked from another thread."""
        left, far = self.left(), list(self.far.values())
        told = [", ".join(filter(None, [name, *_steps(s), s.line])) for name, s in far]
        parts = [f"{len(self.done)} of {len(self.work)} ended", *told[:3], *(["..."] if len(told) > 3 else [])]
        return "; ".join(parts) + ("" if left is None else f"; about {shown(left)} left")


def _steps(standing: Standing) -> list[str]:
    return [f"step {standing.step} of {standing.steps}"] if standing.step else []


def shown(seconds: float) -> str:
    """A time for people: `40 s`, `25 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
