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

import jax

from dnas.errors import DataError, Stopped, UserError
from dnas.learning.course import Course, Metrics, Phase, State
from dnas.learning.journal import Journal
from dnas.learning.recent import Recent, without
from dnas.process.interrupt import Asked, stopping_at_once

T = TypeVar("T")
ROWS = 100
"""Rows of the history of a run, about."""
PROFILED = range(10, 15)
"""Steps, counted from where this process begins, that a profile shows: the first ones are not like the rest."""

Show = Callable[[int, dict[str, Any]], None]
"""Is told a step's number and its row of the history."""


@dataclass(frozen=True)
class Watch:
    """Who is told of a run on its way."""

    progress: Callable[[int, int], AbstractContextManager[Show]]
    """Of the number of steps, and of those that a former run took."""
    say: Callable[[str], object] = lambda line: None
    """A line for people: where a run goes on."""
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
    state, behind, measured = journal.begin(course, resume, force)
    if resume:
        going_on = f"continued after step {journal.before + behind} of {journal.before + course.steps}"
        watch.say(going_on if journal.before + behind else "nothing to continue from: beginning at the first step")
    with watch.progress(course.steps, behind) as show:
        run, done = _Run(course, journal, batch_size, measured, show, asked), 0
        for phase in course.phases:
            if done < behind <= done + phase.steps and run.due(phase, behind - done, behind) and journal.lacks(behind):
                state = run.row(phase, state, behind)
            try:
                for n in range(max(0, behind - done), phase.steps):
                    if n == 0:
                        state = run.begun(phase, state)
                    if phase.done(state):
                        break
                    watch.before(done + n)
                    state = run.step(phase, state, n, done + n + 1)
            finally:
                phase.end()
            done += phase.steps
    journal.save(state, journal.taken, run.metrics)
    return state


class _Run:
    """A course on its way: what its steps measured, and the rows that are written of them."""

    def __init__(
        self, course: Course, journal: Journal, batch_size: int, measured: Metrics, show: Show, asked: Callable[[], int]
    ):  # fmt: skip
        self.course, self.journal, self.show, self.asked = course, journal, show, asked
        self.recent, self.metrics = Recent(batch_size, measured), without(measured)
        self.every = max(1, course.steps // ROWS)

    def begun(self, phase: Phase, state: State) -> State:
        """The state at the first step of a phase."""
        self.recent.begin()
        return or_leave(lambda: phase.begin(state), self.journal, state, self.journal.taken, self.metrics)

    def step(self, phase: Phase, state: State, n: int, step: int) -> State:
        """The state after step `n` of the phase, which is number `step` of the run, and all that follows a step."""
        state, measured = or_save(lambda: phase.step(state, n), self.journal, state, self.journal.taken, self.kept)
        self.metrics, self.journal.taken = self.metrics | measured, step
        self.recent.add(measured)
        if self.asked():
            leave(self.journal, state, step, self.kept, self.asked())
        if self.due(phase, n + 1, step):
            state = self.row(phase, state, step)
        elif step % self.every == 0:
            self.show(step, self.measured(phase, state, step))
        self.journal.save(state, step, self.kept)
        return state

    def due(self, phase: Phase, taken: int, step: int) -> bool:
        """Whether a row is written after `taken` steps of a phase, `step` of the run."""
        past = step % self.every if phase.rows_every is None else taken % phase.rows_every
        return past == 0 or taken == phase.steps

    def row(self, phase: Phase, state: State, step: int) -> State:
        """The state after the phase's review; the row is written and shown."""
        row = self.measured(phase, state, step)
        state, more = or_leave(lambda: phase.review(state, step), self.journal, state, step, self.kept)
        self.show(step, self.journal.note(row | more))
        return state

    def measured(self, phase: Phase, state: State, step: int) -> dict[str, Any]:
        """A row but for the review, as plain numbers; raises `UserError` where one is not finite."""
        known = {"step": step, "phase": phase.name, **self.metrics, **self.recent.row(), **self.course.observe(state)}
        return self.journal.plain(known)

    @property
    def kept(self) -> Metrics:
        """What a checkpoint must hold of the metrics."""
        return self.metrics | self.recent.kept()


def concluded(work: Callable[[], T], journal: Journal, state: State, asked: Callable[[], int]) -> T:
    """What `work` makes of the last state; a signal before or in it leaves the run at its last step."""
    if asked():
        leave(journal, state, journal.taken, {}, asked())
    return or_leave(work, journal, state, journal.taken, {})


def leave(journal: Journal, state: State, step: int, metrics: Metrics, signal: int) -> NoReturn:
    """Saves and raises `Stopped`."""
    saved, number = journal.save(state, step, metrics, now=True), journal.before + step
    raise Stopped(f"stopped after step {number}" + "; the same command with --resume goes on" * saved, signal)


def or_leave(work: Callable[[], T], journal: Journal, state: State, step: int, metrics: Metrics) -> T:
    """What `work` gives, which leaves `state` as it is; a signal does not wait for it."""
    try:
        with stopping_at_once():
            return or_save(work, journal, state, step, metrics)
    except Asked as asked:
        leave(journal, state, step, metrics, asked.number)


def or_save(work: Callable[[], T], journal: Journal, state: State, step: int, metrics: Metrics) -> T:
    """What `work` gives; most of it reads its images before it changes `state`.

    Raises:
        DataError: images that cannot be read; the run is saved, unless `state` has changed.
    """
    try:
        return work()
    except DataError as error:
        if any(leaf.is_deleted() for leaf in jax.tree.leaves(state.arrays) if isinstance(leaf, jax.Array)):
            raise DataError(f"{error}; the same command with --resume goes on from the last checkpoint") from error
        if not journal.save(state, step, metrics, now=True):
            raise
        saved = f"saved after step {journal.before + step}; the same command with --resume goes on"
        raise DataError(f"{error}; {saved}") from error


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
def profiled(
    folder: Path | None, written: Callable[[Path], None], say: Callable[[str], object] = lambda line: None
) -> Iterator[Callable[[int], None]]:
    """A function to be called before every step, which starts and ends the trace; `written` is told where it lies.

    Where there were too few steps for one, `say` is told so.
    """
    running, taken = False, 0

    def end() -> None:
        nonlocal running
        if running and folder is not None:
            jax.profiler.stop_trace()
            written(folder)
        running = False

    def before(step: int) -> None:
        nonlocal running, taken
        if folder is not None and taken == PROFILED.start:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
            running = True
        elif taken == PROFILED.stop:
            end()
        taken += 1

    try:
        yield before
    finally:
        end()
        if folder is not None and taken <= PROFILED.start:
            say(f"no profile in {folder}: it begins after {PROFILED.start} steps, and {taken} were taken")
