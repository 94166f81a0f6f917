"""The search finds options that are right for a reason that can be proved."""

from __future__ import annotations

import pytest

from .chains import first_dropped
from .planted import TASKS, options_found


@pytest.mark.parametrize("name", TASKS)
def test_right_option_in_nine_of_ten_seeds(name):
    task = TASKS[name]
    taken = options_found(task, range(10))
    right = sum(option in task.right for option in taken)
    assert right >= 9, f"{name}: {taken}, right are {task.right}"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["slimming", "sandwich"])
def test_chain_drops_the_useless_part_first_in_nine_of_ten_seeds(strategy):
    dropped = first_dropped(strategy, range(10))
    assert dropped.count("trunk.1.se") >= 9, dropped
