"""Progress of whatever takes long: on a terminal a bar with the time left, or a clock where no end is known.

Without a terminal a line after five seconds, then every ten and ever more rarely: twenty lines in the first five
minutes, fifty in an hour.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

Update = Callable[[int, str], None]
"""How many steps are done, and what to say of them."""
FIRST_S, EVERY_S = 5.0, 10.0
RARER = 0.1
"""Share of the time behind that passes between two lines, where that is longer."""
LOOK_S = 0.5
"""How often it is looked whether a line is due: steps may be long."""


@contextmanager
def progress(out: Any, steps: int, what: str, done: int = 0, unit: str = "step") -> Iterator[Update]:
    """Of a number of steps. `out` is a rich console; `done` steps were made by a former run and do not enter the
    estimate of the time left."""
    if not out.is_terminal:
        lines = _Steps(out, steps, done, f"{what}, {unit}" if unit != "step" else unit)
        with _looking(lines.look):
            yield lines.update
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=out) as bar:
        task = bar.add_task(what, total=steps, completed=done, line="")
        yield lambda step, line: bar.update(task, completed=step, line=line)


@contextmanager
def working(out: Any, what: str, standing: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Of something whose end is not known: the seconds so far, and what `standing()` says of it."""
    began = time.monotonic()

    def text() -> str:
        said = standing()
        return f"{what}: {time.monotonic() - began:.0f} s so far{f', {said}' if said else ''}"

    if out.is_terminal:
        from rich.text import Text

        with out.status(f"{what} ...") as status, _looking(lambda: status.update(Text(text()))):
            yield
        return
    due = _Due(began)
    with _looking(lambda: out.print(text(), markup=False, soft_wrap=True) if due(time.monotonic()) else None):
        yield


SILENT = 3.0
"""Seconds of work of which nothing is shown: most of it is over by then."""


@contextmanager
def told(out: Any, what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """For work that may be over before anyone asks: a function to be told (done, of how many), which then shows it."""
    began = time.monotonic()
    with ExitStack() as stack:
        shown: list[Update] = []

        def update(done: int, total: int) -> None:
            if not shown and not quiet and time.monotonic() - began > SILENT:
                shown.append(stack.enter_context(progress(out, total, what, done)))
            if shown:
                shown[0](done, what)

        yield update


def beside() -> Any:
    """A rich console on stderr, for commands whose stdout is their result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


class _Due:
    """Whether a line is due at a time that `time.monotonic` gives."""

    def __init__(self, now: float):
        self.began = self.last = now

    def __call__(self, now: float) -> bool:
        behind = self.last - self.began
        if now - self.last < (max(EVERY_S, RARER * behind) if behind else FIRST_S):
            return False
        self.last = now
        return True


class _Steps:
    """Lines of a run of known length; `look` prints one where it is due, `update` also at the end."""

    def __init__(self, out: Any, steps: int, done: int, unit: str):
        self.out, self.steps, self.unit = out, steps, unit
        self.at, self.line, self.paces = done, "", []
        self.began = self.moved = time.monotonic()
        self.due, self.lock = _Due(self.began), threading.Lock()

    def update(self, step: int, line: str) -> None:
        with self.lock:
            now = time.monotonic()
            if step <= self.at:
                self.line = line
                return
            self.paces.append((now - self.moved) / (step - self.at))
            self.at, self.moved, self.line = step, now, line
            if self.due(now) or step >= self.steps:
                self._print(now)

    def look(self) -> None:
        with self.lock:
            now = time.monotonic()
            if self.at < self.steps and self.due(now):
                self._print(now)

    def _print(self, now: float) -> None:
        # The median: a few steps that take a hundred times as long (comparing actions) say nothing of those to come.
        left = f", {statistics.median(self.paces) * (self.steps - self.at):.0f} s left" if self.paces else ""
        self.out.print(
            f"{self.unit} {self.at}/{self.steps}  {now - self.began:.0f} s{left}  {self.line}".rstrip(), markup=False
        )


@contextmanager
def _looking(look: Callable[[], None]) -> Iterator[None]:
    """Calls `look` every now and then, from a thread of its own."""
    over = threading.Event()

    def watch() -> None:
        # The reader has gone, or its disk is full: this thread's end is not the place to say so.
        with suppress(OSError):
            while not over.wait(LOOK_S):
                look()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1.0)  # it may be waiting for what this thread holds, such as a full pipe
