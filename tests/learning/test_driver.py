"""The driver on a course of additions: what it writes, and that a run left anywhere ends as one that was not."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import jax.numpy as jnp
import pytest

from dnas.data.batches import Ahead
from dnas.errors import DataError, Stopped, UserError
from dnas.learning.course import Phase, State
from dnas.learning.driver import Watch, advance, concluded, profiled
from dnas.learning.journal import Journal
from dnas.process.interrupt import asked_to_stop

STEPS = 6


@dataclasses.dataclass
class Additions:
    """Adds 0, 1, 2, ... and reviews the sum after every third step; `at` names a moment at which a signal comes."""

    at: tuple[str, int] = ("", 0)
    reviews: list[int] = dataclasses.field(default_factory=list)
    steps: int = 1 + STEPS

    def start(self) -> State:
        return State({"sum": jnp.zeros(())}, {"reviewed": 0})

    def observe(self, state: State) -> dict[str, int]:
        return {"reviewed": state.notes["reviewed"]}

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("first", 1, lambda state, n: (state, {"loss": 0.5})),
            Phase("add", STEPS, self.step, self.begin, rows_every=3, review=self.review),
        )

    def signalled(self, where: str, n: int) -> None:
        if self.at == (where, n):
            os.kill(os.getpid(), signal.SIGTERM)

    def begin(self, state: State) -> State:
        self.signalled("begin", 0)
        return state._replace(notes={**state.notes, "begun": True})

    def step(self, state: State, n: int) -> tuple[State, dict]:
        self.signalled("step", n)
        total = state.arrays["sum"] + n
        return state._replace(arrays={"sum": total}), {"loss": total}

    def review(self, state: State, step: int) -> tuple[State, dict]:
        self.signalled("review", step)
        self.reviews.append(step)
        return state._replace(notes={**state.notes, "reviewed": step}), {"double": 2 * float(state.arrays["sum"])}


def run(
    course: Additions, folder: Path, said: list[str] | None = None, concluding: Callable[[], object] = lambda: None,
    **more,
) -> tuple[State, Journal]:  # fmt: skip
    @contextmanager
    def progress(steps, done):
        yield lambda step, row: None

    journal = Journal(folder, {"run": "additions"}, **{"every_s": 1e9, **more.pop("journal", {})})
    watch = Watch(progress, (said if said is not None else []).append)
    with asked_to_stop() as asked:
        state = advance(course, journal, watch, 4, asked=asked, **more)
        concluded(concluding, journal, state, asked)
        return state, journal


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[State, str]:
    state, journal = run(Additions(), tmp_path_factory.mktemp("whole"))
    return state, journal.history()


def test_rows_are_written_where_the_phase_asks(whole):
    import json

    rows = [json.loads(line) for line in whole[1].splitlines()]
    assert [(row["step"], row["phase"]) for row in rows] == [(1, "first"), (4, "add"), (7, "add")]
    assert [row.get("double") for row in rows] == [None, 6.0, 30.0] and rows[2]["reviewed"] == 4
    assert whole[0].notes == {"reviewed": 7, "begun": True}


@pytest.mark.parametrize("at", [("begin", 0), ("step", 1), ("step", 2), ("review", 4), ("step", 5), ("review", 7)])
def test_a_run_left_anywhere_ends_as_one_that_was_not(at, whole, tmp_path):
    """A signal in a review, which may be a long evaluation, does not wait for it; no row is missed or written twice."""
    said: list[str] = []
    with pytest.raises(Stopped, match="the same command with --resume goes on"):
        run(Additions(at), tmp_path)
    left = Additions()
    state, journal = run(left, tmp_path, said, resume=True)
    assert journal.history() == whole[1] and state == whole[0]
    assert said == ["continued after step " + {"begin": "1", "step": str(at[1] + 2), "review": str(at[1])}[at[0]]
                    + " of 7"]  # fmt: skip
    assert left.reviews == [step for step in (4, 7) if step > (at[1] + 1 if at[0] == "step" else at[1] - 1)]


class EndsEarly(Additions):
    """Additions that are enough after two of their steps, and a last phase, which has no step where `last` is 0."""

    def __init__(self, last: int, at: tuple[str, int] = ("", 0)):
        super().__init__(at, steps=1 + STEPS + last)
        self.last = last

    @property
    def phases(self) -> tuple[Phase, ...]:
        first, add = super().phases
        enough = dataclasses.replace(add, begin=lambda state: state, done=lambda state: state.arrays["sum"] >= 1)
        return first, enough, Phase("last", self.last, self.step, self.begin)


@pytest.mark.parametrize("last, at", [(1, ("begin", 0)), (1, ("conclude", 0)), (0, ("conclude", 0))])
def test_a_run_left_behind_a_phase_that_ended_early_writes_no_row_of_steps_not_taken(last, at, tmp_path):
    whole = run(EndsEarly(last), tmp_path / "whole")[1].history()
    course = EndsEarly(last, at)
    with pytest.raises(Stopped, match="the same command with --resume goes on"):
        run(course, tmp_path / "left", concluding=lambda: course.signalled("conclude", 0))
    assert run(EndsEarly(last), tmp_path / "left", resume=True)[1].history() == whole


@pytest.mark.parametrize("at", [("", 0), ("begin", 0), ("step", 0), ("conclude", 0)])
def test_what_reads_ahead_for_a_phase_ends_with_it(at, tmp_path):
    """Also where the run is left, and where a phase ends early."""
    ended = []

    class Reading(EndsEarly):
        @property
        def phases(self) -> tuple[Phase, ...]:
            phases = super().phases
            return tuple(dataclasses.replace(p, end=lambda n=n: ended.append(n)) for n, p in enumerate(phases))

    with contextlib.nullcontext() if not at[0] else pytest.raises(Stopped):
        run(course := Reading(1, at), tmp_path, concluding=lambda: course.signalled("conclude", 0))
    assert ended == ([0, 1] if at[0] == "step" else [0, 1, 2])


def test_a_resume_without_a_checkpoint_says_so(tmp_path, whole):
    said: list[str] = []
    assert run(Additions(), tmp_path, said, resume=True)[1].history() == whole[1]
    assert said == ["nothing to continue from: beginning at the first step"]


def test_a_metric_that_is_not_finite_ends_the_run_before_a_review(tmp_path):
    course = Additions()
    course.step = lambda state, n: (state, {"loss": jnp.inf if n == 2 else 0.0})  # pyright: ignore
    with pytest.raises(UserError, match="diverged at step 4: loss not finite.*Try less"):
        run(course, tmp_path, journal={"advice": "Try less"})
    assert course.reviews == []


def test_batches_ahead_are_those_of_their_steps():
    class Numbers:
        def at(self, step):
            return step, -step

    ahead = Ahead(Numbers(), 9)  # pyright: ignore
    assert [ahead.at(n) for n in (0, 1, 5, 6, 2, 3)] == [(n, -n) for n in (0, 1, 5, 6, 2, 3)]
    ahead.close()


@pytest.mark.parametrize("first, count, traced", [(0, 30, 5), (12, 30, 5), (0, 12, 2), (40, 8, 0)])
def test_a_profile_is_of_steps_of_this_start_or_it_is_said_that_there_is_none(first, count, traced, monkeypatch):
    """Wherever the run was continued, and however short it is."""
    shown, lines, on = [], [], []
    monkeypatch.setattr("jax.profiler.start_trace", lambda *_, **__: on.append(True))
    monkeypatch.setattr("jax.profiler.stop_trace", on.clear)
    with profiled(Path("traces"), lambda folder: lines.append(f"in {folder}"), lines.append) as before:
        for step in range(first, first + count):
            before(step)
            shown += on
    assert len(shown) == traced
    assert lines == ["in traces" if traced else "no profile in traces: it begins after 10 steps, and 8 were taken"]


def test_images_that_cannot_be_read_behind_a_phase_that_ended_early_add_no_row(tmp_path):
    whole = run(EndsEarly(1), tmp_path / "whole")[1].history()

    class Damaged(EndsEarly):
        @property
        def phases(self) -> tuple[Phase, ...]:
            return *super().phases[:2], Phase("last", 1, self.unreadable, self.begin)

        def unreadable(self, state: State, n: int):
            raise DataError("a damaged image")

    with pytest.raises(DataError, match="a damaged image; saved after step 3; the same command with --resume goes on"):
        run(Damaged(1), tmp_path / "left")
    assert run(EndsEarly(1), tmp_path / "left", resume=True)[1].history() == whole
