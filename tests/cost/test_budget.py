"""Budgets as they are written, and what is said of those that are none."""

from __future__ import annotations

import pytest

from dnas.cost.budget import parse_budget, parse_family
from dnas.errors import InputError


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("200MFLOPs", "MACs", 200e6), (" 200 mflops ", "MACs", 200e6), ("1.5GMACs", "MACs", 1.5e9),
        ("1.2TFLOPs", "MACs", 1.2e12), ("752FLOPs", "MACs", 752), ("5kparams", "params", 5e3),
        ("2e2MFLOPs", "MACs", 200e6), ("12ms@pixel3", "ms", 12), ("850 US@a b/c.json", "ms", 0.85),
    ],
)  # fmt: skip
def test_units(text, kind, limit):
    found = parse_budget(text)
    assert (found.kind, found.limit) == (kind, pytest.approx(limit, rel=1e-15))


def test_spaces_between_the_budgets_of_a_family_make_no_other_one():
    assert parse_family("0.3MFLOPs, 0.5MFLOPs") == parse_family("0.3MFLOPs,0.5MFLOPs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0MFLOPs", "--budget: out of range (found '0MFLOPs'; accepted: a number above 0, below 1e15)"),
        ("-5MFLOPs", "--budget: out of range (found '-5MFLOPs'; accepted: a number above 0, below 1e15)"),
        ("-.5ms@pixel3", "--budget: out of range"),
        ("1e999FLOPs", "a number above 0, below 1e15"),
        ("1.2.3MFLOPs", "--budget: not a number (found '1.2.3'"),
        ("5ms", "--budget: not a budget"),
        ("5Mparam\u017f", "--budget: not a budget"),  # a long s, which is an s where case does not count
        ("2MB", "--budget: not a budget"),
    ],
)
def test_none(text, said):
    with pytest.raises(InputError) as caught:
        parse_budget(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("60MFLOPs,abc", "--family: not a budget (found 'abc'"),
        ("60MFLOPs,", "--family: not a budget (found ''"),
        ("60MFLOPs,0MFLOPs", "--family: out of range"),
        ("60MFLOPs,60MMACs", "--family: not a family"),
        ("60MFLOPs,5Mparams", "--family: not a family"),
    ],
)
def test_a_family_that_is_none(text, said):
    with pytest.raises(InputError) as caught:
        parse_family(text)
    assert str(caught.value).startswith(said)
