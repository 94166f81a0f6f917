"""Progress of a long run: a bar with the time left on a terminal, else a line every tenth of the run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Update = Callable[[int, str], None]
"""How many steps are done, and what to say of them."""


@contextmanager
def progress(out: Any, steps: int, what: str, done: int = 0) -> Iterator[Update]:
    """`out` is a rich console; `done` steps were made by a former run and do not enter the estimate."""
    if not out.is_terminal:
        yield _lines(out, steps, done)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[line]}"),
    )  # fmt: skip
    with Progress(*columns, console=out) as bar:
        task = bar.add_task(what, total=steps, completed=done, line="")
        yield lambda step, line: bar.update(task, completed=step, line=line)


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


def _lines(out: Any, steps: int, done: int) -> Update:
    began = last = time.monotonic()
    at, shown = done, done
    paces: list[float] = []

    def update(step: int, line: str) -> None:
        nonlocal at, last, shown
        if step <= at:
            return
        now = time.monotonic()
        paces.append((now - last) / (step - at))
        at, last = step, now
        if step < shown + max(1, steps // 10) and step < steps:
            return
        shown = step
        # The median: a few steps that take a hundred times as long (comparing actions) say nothing of those to come.
        left = statistics.median(paces) * (steps - step)
        out.print(f"step {step}/{steps}  {now - began:.0f} s, {left:.0f} s left  {line}")

    return update
