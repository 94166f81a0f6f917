"""What a run without a terminal prints, and when."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dnas.process import progress as module
from dnas.process.progress import progress, working


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves; nobody looks at it but where a step ends."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "LOOK_S", 1e6)
    return now


@pytest.fixture
def lines(clock):
    """`(seconds of each step, steps, done before) -> the lines printed`."""

    def printed(seconds: list[float], steps: int, done: int = 0) -> list[str]:
        out = io.StringIO()
        with progress(Console(file=out, width=200), steps, "searching", done) as update:
            for n, taken in enumerate(seconds, done + 1):
                clock[0] += taken
                update(n, "so far")
        return out.getvalue().splitlines()

    return printed


def test_a_line_soon_and_then_every_ten_seconds_with_the_time_left(lines):
    assert lines([2.0] * 40, 40)[:2] == ["step 3/40  6 s, 74 s left  so far", "step 8/40  16 s, 64 s left  so far"]
    assert lines([2.0] * 40, 40)[-1] == "step 40/40  80 s, 0 s left  so far"


def test_a_short_run_prints_its_end_alone(lines):
    assert lines([0.1] * 40, 40) == ["step 40/40  4 s, 0 s left  so far"]


def test_a_long_run_prints_ever_more_rarely(lines):
    assert len(lines([1.0] * 3600, 3600)) < 60


def test_steps_of_a_former_run_do_not_enter_the_estimate(lines):
    """They were counted as made in no time: 14 s were said to be left of minutes."""
    assert lines([2.0] * 5, 40, done=30)[0] == "step 33/40  6 s, 14 s left  so far"


def test_a_few_steps_that_take_long_do_not_enter_the_estimate(lines):
    assert lines([1.0] * 16 + [100.0] * 4, 40)[-1] == "step 20/40  416 s, 20 s left  so far"


def test_a_first_step_that_takes_long_is_not_silent(clock, monkeypatch):
    """Nothing was printed before the first tenth of a run, which may be minutes."""
    looks = []
    monkeypatch.setattr(module, "_looking", lambda look: looks.append(look) or _nothing())
    out = io.StringIO()
    with progress(Console(file=out, width=200), 40, "searching"):
        looks[0]()
        clock[0] += 11
        looks[0]()
    assert out.getvalue() == "step 0/40  11 s\n"


def test_work_of_unknown_length_says_how_long_it_has_taken(clock, monkeypatch):
    looks = []
    monkeypatch.setattr(module, "_looking", lambda look: looks.append(look) or _nothing())
    out = io.StringIO()
    with working(Console(file=out, width=200), "compiling", lambda: "2 of 5 programs done"):
        for _ in range(25):
            clock[0] += 1
            looks[0]()
    assert out.getvalue().splitlines() == [f"compiling: {s} s so far, 2 of 5 programs done" for s in (5, 15, 25)]


def test_what_is_said_of_it_is_shown_as_it_is_on_one_line(clock, monkeypatch):
    """What a task prints may look like marks of the console, and be longer than it is wide."""
    looks = []
    monkeypatch.setattr(module, "_looking", lambda look: looks.append(look) or _nothing())
    for terminal in (False, True):
        out = io.StringIO()
        with working(Console(file=out, width=30, force_terminal=terminal), "running", lambda: "[red] [5 of 6] " * 3):
            clock[0] += 6
            looks.pop()()
        assert "[red] [5 of 6]" in out.getvalue() and (terminal or out.getvalue().count("\n") == 1)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
