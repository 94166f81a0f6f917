"""E-T errors, lines and moves by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dnas.search.space_quality import Line, by_choice, line, moved, quality, spacing, steps


def test_the_mean_of_all_and_of_the_lowest():
    found = quality(np.array([10.0, 40.0, 20.0, 30.0]), top=2)
    assert (found.expected, found.top, found.et) == (25.0, 15.0, 20.0)


def test_fifty_lowest_or_all_where_there_are_fewer():
    errors = np.arange(60.0)[::-1]
    found = quality(errors)
    assert (found.expected, found.top, found.et) == (29.5, 24.5, 27.0)
    few = quality(errors[:3])
    assert few.expected == few.top == few.et == 58.0


def test_by_choice_of_one_gene():
    """Choice 0: errors 10 and 30; choice 1: 20; choice 2: nobody."""
    errors, genes = np.array([10.0, 20.0, 30.0]), np.array([[0], [1], [0]])
    found = by_choice(errors, genes, np.ones((3, 1), bool), 3, top=1)
    assert found[:2].tolist() == [(20 + 10) / 2, 20.0] and math.isnan(found[2])


def test_genes_of_several_blocks_are_averaged_where_the_blocks_exist():
    """Two blocks; the second does not exist in the last network.

    Choice 0: 10 and 40 in the first block (25), 10 in the second: 17.5. Choice 1: 20 and 20.
    """
    errors = np.array([10.0, 20.0, 40.0])
    genes, exists = np.array([[0, 0], [1, 1], [0, 0]]), np.array([[True, True], [True, True], [True, False]])
    assert by_choice(errors, genes, exists, 2).tolist() == [17.5, 20.0]


def test_a_line_by_least_squares():
    """Through (0, 1), (1, 2), (2, 5): mean 8/3 at 1, slope (-1 * 1 + 1 * 5) / 2 = 2."""
    found = line([1.0, 2.0, 5.0])
    assert found == (2.0, pytest.approx(8 / 3 - 2))


def test_choices_that_nobody_has_are_left_out_of_the_line():
    assert line([4.0, math.nan, 2.0]) == (-1.0, 4.0)
    assert line([math.nan, 3.0]) == Line(0.0, 3.0)
    assert math.isnan(line([math.nan, math.nan]).intercept) and line([math.nan]).slope == 0


@pytest.mark.parametrize(
    "slope, floor, trunc",
    [(0.0, 0, 0), (0.39, 0, 0), (0.4, -1, -1), (0.9, -2, -2), (-0.1, 1, 0), (-0.4, 1, 1), (-0.5, 2, 1), (-1e-13, 0, 0)],
)
def test_slopes_as_steps(slope, floor, trunc):
    assert (steps(slope, 0.4, "floor"), steps(slope, 0.4, "trunc")) == (floor, trunc)


@pytest.mark.parametrize(
    "options, count, after",
    [
        ((224, 256, 288), 1, (256, 288, 320)),
        ((224, 256, 288), -2, (160, 192, 224)),
        ((1, 2, 3), -1, (1, 2)),  # what is not positive is dropped
        ((0, 1, 2), -1, (0, 1)),  # a depth of 0 was there
        ((3, 3.5, 4), -1, (2.5, 3, 3.5)),
        ((0.75, 1.5, 2.25), 1, (1.5, 2.25, 3)),
        ((24, 32, 48), 1, (32, 40, 56)),  # multiples of 8 stay multiples of 8
        ((7, 14), 1, (14, 21)),
    ],
)
def test_lists_move_by_their_spacing(options, count, after):
    found = moved(options, count, spacing(options))
    assert found == after and [type(n) for n in found] == [type(n) for n in after]
