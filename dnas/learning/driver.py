"""The driver of a long run: takes the steps of its phases, records and shows them, saves, and leaves when asked to.

What is run is a `Course`; a search makes one of its strategy. Only the driver and its journal read clocks, meet signals
and write while steps are taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dnas.errors import Stopped, UserError
from dnas.learning.course import Course, Metrics, State
from dnas.learning.journal import Journal
from dnas.learning.recent import Recent, without
from dnas.process.interrupt import Asked, stopping_at_once

T = TypeVar("T")
ROWS = 100
"""Rows of the history of a run, about."""
PROFILED = range(10, 15)
"""Steps of the run that a profile shows: after the first ones, which are not like the rest."""

Show = Callable[[int, dict[str, Any]], None]
"""Is told a step's number and its row of the history."""


@dataclass(frozen=True)
class Watch:
    """Who is told of a run on its way."""

    progress: Callable[[int, int], AbstractContextManager[Show]]
    """Of the number of steps, and of those that a former run took."""
    continued: Callable[[int, int], None] = lambda behind, steps: None
    """The run goes on from a checkpoint."""
    before: Callable[[int], None] = lambda step: None
    """Called before each step, with its number from 0."""


def advance(
    course: Course, journal: Journal, watch: Watch, batch_size: int, *, resume: bool = False, force: bool = False,
    asked: Callable[[], int] = lambda: 0,
) -> State:  # fmt: skip
    """The state after all phases, from the beginning or, with `resume`, from the newest checkpoint.

    `force` continues a checkpoint although something that alters the result has changed. `asked()` is the number of the
    signal that asks to stop, 0 for none.

    Raises:
        UserError: a metric is not finite, or a checkpoint cannot be read or written.
        Stopped: after a signal; everything is saved.
    """
    state, behind, metrics = journal.begin(course, resume, force)
    recent, metrics = Recent(batch_size, metrics), without(metrics)
    every, done = max(1, course.steps // ROWS), 0
    if behind:
        watch.continued(behind, course.steps)
    with watch.progress(course.steps, behind) as show:
        for phase in course.phases:
            if done + phase.steps <= behind:
                done += phase.steps
                continue
            for n in range(max(0, behind - done), phase.steps):
                if n == 0:
                    recent.begin()
                    state = or_leave(lambda p=phase, s=state: p.begin(s), journal, state, done, metrics)
                if phase.done(state):
                    break
                watch.before(done + n)
                state, measured = phase.step(state, n)
                metrics = metrics | measured
                recent.add(measured)
                step = done + n + 1
                if phase.every_row or step % every == 0 or n + 1 == phase.steps:
                    row = {"step": step, "phase": phase.name, **metrics, **recent.row(), **course.observe(state)}
                    show(step, journal.note(row))
                if asked():
                    leave(journal, state, step, metrics | recent.kept(), asked())
                journal.save(state, step, metrics | recent.kept())
            done += phase.steps
    journal.save(state, done, metrics)
    return state


def leave(journal: Journal, state: State, step: int, metrics: Metrics, signal: int) -> NoReturn:
    """Saves and raises `Stopped`."""
    if journal.save(state, step, metrics, now=True):
        raise Stopped(f"stopped after step {step}; the same command with --resume goes on", signal)
    raise Stopped(f"stopped after step {step}", signal)


def or_leave(work: Callable[[], T], journal: Journal, state: State, step: int, metrics: Metrics) -> T:
    """What `work` gives, which leaves `state` as it is; a signal does not wait for it."""
    try:
        with stopping_at_once():
            return work()
    except Asked as asked:
        leave(journal, state, step, metrics, asked.number)


@contextlib.contextmanager
def kept(save: Callable[[], object]) -> Iterator[None]:
    """Inside, a result that cannot be written is not lost: while there is room for it, `save` keeps a checkpoint."""
    try:
        yield
    except UserError as error:
        try:
            save()
        except UserError:
            raise error from None
        raise UserError(f"{error}; the same command with --resume tries again") from error


@contextlib.contextmanager
def profiled(folder: Path | None, written: Callable[[Path], None]) -> Iterator[Callable[[int], None]]:
    """A function to be called before every step, which starts and ends the trace; `written` is told where it lies."""
    import jax

    running = False

    def end() -> None:
        nonlocal running
        if running and folder is not None:
            jax.profiler.stop_trace()
            written(folder)
        running = False

    def before(step: int) -> None:
        nonlocal running
        if folder is not None and step == PROFILED.start:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
            running = True
        elif step == PROFILED.stop:
            end()

    try:
        yield before
    finally:
        end()
