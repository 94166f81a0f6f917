"""The loop that hands tasks out to a pool until all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dnas.errors import Stopped, UserError
from dnas.fanout.clock import Clock
from dnas.fanout.task import End, Pool, Running, Task
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import working

LOOK_S = 0.1
REPEATS = 2
"""Times that a task whose process was lost is begun again."""
PATIENCE_S = 120.0
"""What tasks are given to save when they are asked to stop; a compiler at work cannot be interrupted."""


class TaskFault(RuntimeError):
    """A fault of ours in a task: its message is all that its process said."""


def fan_out(
    pool: Pool, tasks: Sequence[Task], console: Any, what: str,
    ended: Callable[[int, Any], None] = lambda number, value: None, anew: bool = False,
) -> list[Any]:  # fmt: skip
    """Runs every task; the values in the order of the tasks.

    Progress is shown on `console` as that of `what`. `ended` is told of each task as it ends: its number and its value.
    With `anew` the command replaces what is there, so it goes on, once stopped, without the option that says so.

    Raises:
        Stopped: asked to leave by a signal; every task was asked to save.
        UserError: what a task says that cannot be done, or one whose process was lost again and again. The others were
            asked to save.
        TaskFault: a fault of ours in a task.
    """
    clock = Clock([task.work for task in tasks], pool.count)
    hands = _Hands(pool, tasks, clock)
    values: dict[int, Any] = {}
    with asked_to_stop() as asked, working(console, what, clock.standing):
        try:
            while len(values) < len(tasks):
                hands.fill()
                time.sleep(LOOK_S)
                if asked():
                    raise Stopped(f"stopped; the same command{', without --overwrite,' * anew} goes on", asked())
                for number, value in hands.ended():
                    values[number] = value
                    ended(number, value)
        finally:
            _stopped([one.running for one in hands.busy.values()])
    return [values[n] for n in range(len(tasks))]


@dataclass(frozen=True)
class _One:
    """A task at work: which, and how often it was lost before."""

    number: int
    running: Running
    losses: int = 0


class _Hands:
    """The places of a pool, and what each is at."""

    def __init__(self, pool: Pool, tasks: Sequence[Task], clock: Clock):
        self.pool, self.tasks, self.clock = pool, tasks, clock
        self.waiting = list(range(len(tasks)))
        self.busy: dict[int, _One] = {}
        """Place -> task."""

    def fill(self) -> None:
        """Begins tasks at the places that are free."""
        for place in range(self.pool.count):
            if place not in self.busy and self.waiting:
                self._begin(place, self.waiting.pop(0), 0)

    def ended(self) -> Iterable[tuple[int, Any]]:
        """Numbers and values of the tasks that have ended since; those that were lost begin again."""
        for place, one in list(self.busy.items()):
            self.clock.note(one.number, self.tasks[one.number].name, one.running.standing())
            end = one.running.poll()
            if end is None:
                continue
            del self.busy[place]
            if end.lost and one.losses < REPEATS:
                self._begin(place, one.number, one.losses + 1)
                continue
            self.clock.end(one.number)
            yield one.number, _value(self.tasks[one.number], end, one.losses + 1)

    def _begin(self, place: int, number: int, losses: int) -> None:
        self.clock.begin(number)
        task = self.tasks[number]
        task = task if not losses or task.again is None else replace(task, arguments=task.again)
        self.busy[place] = _One(number, self.pool.begin(task, place), losses)


def _value(task: Task, end: End, tries: int) -> Any:
    """The value of a task that has ended; raises `UserError` or `TaskFault` where it has none."""
    if end.lost:
        raise UserError(
            f"{task.name}: its process was lost {tries} times, the last time {end.lost}; where memory was short, fewer "
            "--workers or a smaller --batch-size need less"
        )
    if end.failed:
        raise UserError(f"{task.name}: {end.failed}")
    if end.fault:
        raise TaskFault(f"{task.name}:\n{end.fault}")
    return end.value


def _stopped(running: Sequence[Running]) -> None:
    """Asks tasks to save and waits until they have left; a second signal ends them at once."""
    try:
        for one in running:
            one.stop()
        began = time.monotonic()
        while any(one.poll() is None for one in running) and time.monotonic() - began < PATIENCE_S:
            time.sleep(LOOK_S)
    finally:
        for one in running:
            one.kill()
