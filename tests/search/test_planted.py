"""The search finds options that are right for a reason that can be proved."""

from __future__ import annotations

import pytest

from .chains import TASKS as CHAINS
from .chains import dropped
from .planted import FAMILIES, TASKS, options_found, options_of_members
from .planted_vision import TASKS as VISION


@pytest.mark.parametrize("name", TASKS)
def test_right_option_in_nine_of_ten_seeds(name):
    task = TASKS[name]
    taken = options_found(task, range(10))
    right = sum(option in task.right for option in taken)
    assert right >= 9, f"{name}: {taken}, right are {task.right}"


# Both windows fit either budget.
OF_FAMILIES = FAMILIES | {"window of a transformer": (VISION["window"], "2.8kparams,2.9kparams")}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FAMILIES)
def test_every_member_of_a_family_has_the_right_option_in_nine_of_ten_seeds(name):
    task, family = OF_FAMILIES[name]
    for taken in zip(*options_of_members(task, family, range(10)), strict=True):
        assert sum(option in task.right for option in taken) >= 9, f"{name}: {taken}, right are {task.right}"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["dmasking", "evolution"])
@pytest.mark.parametrize("name", VISION)
def test_right_option_of_a_transformer_in_nine_of_ten_seeds(name, strategy):
    task = VISION[name]
    taken = options_found(task, range(10), strategy)
    assert sum(option in task.right for option in taken) >= 9, f"{name}: {taken}, right are {task.right}"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["slimming", "sandwich"])
@pytest.mark.parametrize("name", CHAINS)
def test_chain_drops_the_useless_part_first_in_nine_of_ten_seeds(name, strategy):
    """The control: without the part that is needed the same weights are far less accurate than without the other."""
    task = CHAINS[name]
    found = dropped(task, strategy, range(10))
    assert [d.first for d in found].count(task.useless) >= 9, found
    assert sum(d.without_useless > d.without_needed + 0.1 for d in found) >= 9, found
