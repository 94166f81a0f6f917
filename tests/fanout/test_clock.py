"""The time that is left."""

from __future__ import annotations

import pytest

from dnas.fanout.clock import Clock, shown
from dnas.fanout.task import Standing


class Time:
    """A clock that is set by hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_nothing_is_said_until_something_is_known():
    clock = Clock([1.0, 1.0], 1, Time())
    assert clock.left() is None and clock.standing() == "0 of 2 ended"
    clock.begin(0)
    assert clock.left() is None


def test_tasks_that_have_ended_tell_how_long_the_others_take_by_their_work():
    now = Time()
    clock = Clock([1.0, 2.0, 3.0], 1, now)
    clock.begin(0)
    now.at = 10
    clock.end(0)
    assert clock.left() == pytest.approx(50)
    clock.begin(1)
    now.at = 15
    assert clock.left() == pytest.approx(45)  # of the second, its age is behind
    now.at = 60
    assert clock.left() == pytest.approx(30)  # it takes longer than thought: only the third is known to be left


def test_a_task_at_work_tells_by_its_steps_and_several_share_the_time():
    now = Time()
    clock = Clock([1.0] * 4, 2, now)
    clock.begin(0)
    clock.begin(1)
    now.at = 10
    clock.note(0, "first", Standing(50, 100, "loss 1"))
    clock.note(1, "second", Standing(25, 100))
    # 10 s each for three quarters of a task together: 26.7 s a task.
    pace = 20 / 0.75
    assert clock.left() == pytest.approx((pace * 0.5 + pace * 0.75 + 2 * pace) / 2)
    assert clock.standing().startswith("0 of 4 ended; first, step 50 of 100, loss 1; second, step 25 of 100; about")


def test_the_longest_at_work_is_waited_for():
    now = Time()
    clock = Clock([1.0, 1.0], 2, now)
    clock.begin(0)
    clock.begin(1)
    now.at = 10
    clock.end(0)
    now.at = 12
    clock.note(1, "slow", Standing(1, 10))
    assert clock.left() == pytest.approx(22 / 1.1 * 0.9)


def test_a_task_that_begins_again_begins_anew():
    now = Time()
    clock = Clock([1.0], 1, now)
    clock.begin(0)
    now.at = 100
    clock.begin(0)
    now.at = 103
    clock.end(0)
    assert clock.seconds == 3 and clock.left() == 0


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (1500, "25 min"), (12600, "3.5 h")])
def test_times_for_people(seconds, text):
    assert shown(seconds) == text
