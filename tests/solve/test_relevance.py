"""Which options give the same network: the search for the first of them, against trying each pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dnas.solve.relevance import _first_equal

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
