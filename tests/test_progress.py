"""The time left that a run without a terminal prints."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dnas import progress as module
from dnas.progress import progress


@pytest.fixture
def lines(monkeypatch):
    """`(seconds of each step, steps, done before) -> the lines printed`."""

    def printed(seconds: list[float], steps: int, done: int = 0) -> list[str]:
        clock, out = [100.0], io.StringIO()
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        with progress(Console(file=out, width=200), steps, "searching", done) as update:
            for n, taken in enumerate(seconds, done + 1):
                clock[0] += taken
                update(n, "so far")
        return out.getvalue().splitlines()

    return printed


def test_a_line_every_tenth_of_the_run_with_the_time_left(lines):
    assert lines([2.0] * 40, 40)[:2] == ["step 4/40  8 s, 72 s left  so far", "step 8/40  16 s, 64 s left  so far"]
    assert lines([2.0] * 40, 40)[-1] == "step 40/40  80 s, 0 s left  so far"


def test_steps_of_a_former_run_do_not_enter_the_estimate(lines):
    """They were counted as made in no time: 14 s were said to be left of minutes."""
    assert lines([2.0] * 5, 40, done=30)[0] == "step 34/40  8 s, 12 s left  so far"


def test_a_few_steps_that_take_long_do_not_enter_the_estimate(lines):
    assert lines([1.0] * 16 + [100.0] * 4, 40)[-1] == "step 20/40  416 s, 20 s left  so far"
