"""Bits within a budget: as good as trying every choice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.compress.sensitivity import allotted
from dnas.errors import InputError

LAYERS = 8
REST = 17


@st.composite
def problems(draw):
    """Sensitivities that fall with the bits, sizes that rise, and a limit that can be met."""
    seed, options = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 3))
    random = np.random.default_rng(seed)
    sensitivity = np.sort(random.exponential(size=(LAYERS, options)))[:, ::-1] * 10.0 ** draw(st.integers(-9, 9))
    sizes = np.cumsum(random.integers(1, draw(st.sampled_from([4, 5000])), (LAYERS, options)), 1)
    least, most = int(sizes.min(1).sum()), int(sizes.max(1).sum())
    return sensitivity, sizes, least + round(draw(st.floats(0, 1)) * (most - least)) + REST


@settings(max_examples=40, deadline=None)
@given(problems())
def test_it_equals_trying_everything(problem):
    sensitivity, sizes, limit = problem
    rows = np.arange(LAYERS)
    every = np.array(list(itertools.product(range(sizes.shape[1]), repeat=LAYERS)))
    within = every[sizes[rows, every].sum(1) + REST <= limit]
    best = sensitivity[rows, within].sum(1).min()
    found = allotted(sensitivity, sizes, limit, REST)
    assert sizes[rows, found].sum() + REST <= limit
    assert sensitivity[rows, found].sum() == pytest.approx(best, rel=1e-9)


def test_what_is_impossible_names_the_least_size():
    sizes = np.array([[40, 50], [400, 500]])
    with pytest.raises(InputError, match="at least 457"):
        allotted(np.ones((2, 2)), sizes, 456, REST)
    assert allotted(np.ones((2, 2)), sizes, 457, REST) == [0, 0]
