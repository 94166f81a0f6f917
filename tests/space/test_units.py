"""Numbers for people: fitting units, and digits that contradict no limit."""

from __future__ import annotations

import pytest

from dnas.cost.budget import parse_budget
from dnas.space.units import accuracy, counted, share, standard_error, timed


@pytest.mark.parametrize(
    "value, shown",
    [
        (3750, "3.75 kparams"), (752, "752 params"), (999_999, "1.00 Mparams"), (56_230_000, "56.23 Mparams"),
        (2.5e9, "2.50 Gparams"), (0, "0 params"), (0.5, "0.50 params"), (1000, "1.00 kparams"),
    ],
)  # fmt: skip
def test_a_count_has_the_unit_that_fits(value, shown):
    """3,750 parameters were shown as 0.00 Mparams."""
    assert counted(value, "params") == shown


@pytest.mark.parametrize(
    "ms, shown",
    [(6.1234, "6.123 ms"), (0.00042, "420.000 ns"), (0.85, "850.000 us"), (1500, "1.500 s"), (0.0, "0.000 ms")],
)
def test_a_time_has_the_unit_that_fits(ms, shown):
    assert timed(ms) == shown


@pytest.mark.parametrize("text", ["0.01Mparams", "10kparams", "150kFLOPs", "1e5FLOPs", "12ms@t", "9us@t", "3GMACs"])
@pytest.mark.parametrize("off", [1e-3, 1e-5, 1e-7, -1e-7, -1e-3])
def test_what_is_over_or_under_a_limit_does_not_read_as_the_limit(text, off):
    """ "expected 0.01" stood over a limit of 0.01."""
    budget = parse_budget(text)
    assert budget.shown(budget.limit) != budget.shown(budget.limit * (1 + off))
    number, limit = (float(budget.shown(v).split()[0]) for v in (budget.limit * (1 + off), budget.limit))
    if budget.shown(budget.limit).split()[1] == budget.shown(budget.limit * (1 + off)).split()[1]:
        assert (number > limit) == (off > 0)


def test_costs_are_shown_in_the_unit_that_was_asked_for():
    assert parse_budget("200MMACs").shown(1.5e8) == "150.00 MMACs"
    assert parse_budget("200MFLOPs").shown(1.5e8) == "150.00 MFLOPs"


def test_a_share_is_whole_only_where_it_is():
    assert [share(v) for v in (1.0, 0.99996, 0.853, 0.0, 0.00001)] == [
        "100.0 %",
        "99.996 %",
        "85.3 %",
        "0.0 %",
        "0.001 %",
    ]


def test_an_accuracy_has_its_error():
    assert accuracy(0.613, 500) == "61.3 +- 2.2 %"
    assert standard_error(1.0, 16) > 0.01
