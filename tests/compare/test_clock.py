"""The time that is left, on a clock of our own."""

from __future__ import annotations

import pytest

from dnas.compare.clock import Clock, shown


def test_what_is_left_follows_from_beginnings_and_from_steps_by_their_work():
    """Beginnings of 10 s to the first report, then 1 s a step and million multiply-adds."""
    now = [0.0]
    clock = Clock([2, 2, 6], lambda: now[0])
    clock.begin("a")
    assert clock.left() is None and "left" not in clock.standing()
    clock.note(0, 10, "compiling")
    now[0] = 10.0
    clock.note(1, 10, "loss 1")
    now[0] += 9 * 2
    clock.note(10, 10, "loss 0.5")
    assert clock.left() == pytest.approx((10 + 20) + (10 + 60))
    clock.end()
    clock.begin("b")
    now[0] += 4
    assert clock.left() == pytest.approx((6 + 20) + (10 + 60))
    clock.note(5, 10, "continuing")  # from a checkpoint
    now[0] += 6
    clock.note(6, 10, "loss 0.4")
    assert clock.left() == pytest.approx(4 * 2 + 70)
    assert clock.standing() == "b, step 6 of 10, loss 0.4; about 78 s left"


def test_times_for_people():
    assert [shown(s) for s in (7.4, 200, 7200)] == ["7 s", "3 min", "2.0 h"]
