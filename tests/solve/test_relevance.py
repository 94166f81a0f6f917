"""Which options give the same network: the search for the first of them, against trying each pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.solve.extent import size_log10
from dnas.solve.relevance import _first_equal, canonical, first_of_same

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))


@given(st.data(), SHAPES)
def test_the_first_that_agrees_in_both_tables(data, shape):
    before = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 3)))
    stated = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(-1, 2)))
    found = _first_equal(before, stated)
    for k, *rest in np.ndindex(shape):
        column = (slice(None), *rest)
        same = (before[column] == before[(k, *rest)]) & (stated[column] == stated[(k, *rest)])
        assert found[(k, *rest)] == np.argmax(same)


def test_thousands_of_options_take_no_longer_than_they_must():
    """Comparing all pairs took seconds for a spoilt space whose width had thousands of options."""
    table = np.zeros((20_000, 2), np.int64)
    assert not _first_equal(table, table).any()


def windows_on(side: int, *windows: int):
    """A space whose only choice is the side of windows on a map."""
    block = {"window_transformer": {"heads": 1, "window": {"choices": list(windows)}}}
    data = {
        "name": "windows", "input": {"channels": 1, "classes": 2, "resolution": side},
        "trunk": [{"patch_embed": {"out": 8, "kernel": 1}}, block],
        "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
    }  # fmt: skip
    return space_from_data(data, "windows")


def test_windows_larger_than_the_map_are_one_network():
    space = windows_on(8, 4, 14, 8, 28)
    (choice,) = space.choices
    assert size_log10(space) == pytest.approx(math.log10(2))
    first = first_of_same(space)
    assert [canonical(first, {choice.name: n})[choice.name] for n in range(4)] == [0, 1, 1, 1]


def test_the_number_of_networks_of_s3():
    """3 widths, 3 depths a stage; 18 options a block: 3 of heads, 2 windows, 3 ratios. The last map has 7 pixels a
    side, where windows of 7 and of 14 are one."""
    early, last = [sum(18**depth for depth in depths) for depths in ((1, 2, 3), (5, 6, 7))], 9 + 9**2 + 9**3
    expected = math.log10(3**4 * early[0] ** 2 * early[1] * last)
    assert size_log10(load_space("s3")) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(21.21, abs=0.005)
