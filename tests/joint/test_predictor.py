"""The predictor: what it is given, what it learns, and that the seed decides it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dnas.joint.early import rank_correlation
from dnas.joint.encoding import Encoding
from dnas.joint.importance import importances
from dnas.joint.pool import pool
from dnas.joint.predictor import Predictor, Sizes, scale_of
from dnas.space.quantity import Choice
from tests.joint.made import SMALL, Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


def test_numbers_are_one_column_and_names_one_each():
    choices = Choice("n", (1, 2, 4)), Choice("yes", (False, True)), Choice("name", ("a", "b", "c"))
    encoding = Encoding(choices)
    assert encoding.width == 5
    assert encoding(np.array([[1, 0, 2], [2, 1, 0]])).tolist() == [[0, -1, 0, 0, 1], [1, 1, 1, 0, 0]]


def test_it_ranks_what_it_has_not_seen(truth):
    rows = pool(truth.pairs, 400, 5)
    learned, rest = rows[:80], rows[80:]
    fitted = Predictor(truth.pairs, 0, 100, Sizes(members=3)).fit(learned, truth(learned).tolist())
    predicted = fitted.predict(np.array(rest))
    assert predicted.shape == (3, 320)
    assert rank_correlation(predicted.mean(axis=0), truth(rest)) > 0.8
    assert fitted.member(1, np.array(rest)).tolist() == predicted[1].tolist()


def test_the_seed_decides_it_and_more_room_changes_little(truth):
    rows = pool(truth.pairs, 20, 0)
    one, two, other = (Predictor(truth.pairs, seed, 30, SMALL).fit(rows, truth(rows).tolist()) for seed in (0, 0, 1))
    probe = np.array(pool(truth.pairs, 50, 9))
    assert (one.predict(probe) == two.predict(probe)).all()
    assert (one.predict(probe) != other.predict(probe)).any()


def test_encoders_that_know_costs_tell_cheap_networks_from_dear_ones(truth):
    """The embedding before any training follows the costs."""
    predictor = Predictor(truth.pairs, 0, 10, SMALL)
    rows = np.array(pool(truth.pairs, 200, 3))
    costs = np.log(truth.pairs.costs(rows)[:, 0])
    told = predictor.costs(rows)[0, :, 0]
    assert np.corrcoef(told, costs)[0, 1] > 0.9


def test_failures_do_not_widen_the_scale():
    well = np.array([0.80, 0.81, 0.82, 0.83, 0.84])
    assert scale_of(np.append(well, [0.1])).spread == pytest.approx(scale_of(well).spread, rel=0.5)
    assert scale_of(np.full(4, 0.5)).spread > 0


def test_what_matters_is_told_from_what_does_not(truth):
    """Accuracy that follows from the learning rate alone."""
    rows = pool(truth.pairs, 120, 2)
    only = lambda some: (0.5 + 0.05 * np.array(some)[:, 5]).tolist()  # noqa: E731
    fitted = Predictor(truth.pairs, 0, 120, Sizes(members=3)).fit(rows, only(rows))
    found = importances(truth.pairs, fitted, pool(truth.pairs, 256, 0))
    assert found[0].name == "recipe.lr" and found[0].share > 0.8
    assert all(one.share < 0.1 for one in found[1:])


def test_the_only_choice_there_is_decides_all():
    """However few pairs there are; of two that add up, each has its part of the variance."""
    few: Any = SimpleNamespace(choices=(Choice("lr", (1, 2)),), sizes=[2])
    told: Any = SimpleNamespace(predict=lambda rows: np.stack([rows[:, 0] * 0.1, rows[:, 0] * 0.3]))
    (only,) = importances(few, told, [(0,), (1,)])
    assert only.share == pytest.approx(1) and only.error == pytest.approx(0)
    two: Any = SimpleNamespace(choices=(Choice("a", (1, 2)), Choice("b", (1, 2, 3))), sizes=[2, 3])
    sums: Any = SimpleNamespace(predict=lambda rows: (3 * rows[:, 0] + rows[:, 1])[None])
    found = importances(two, sums, [(a, b) for a in range(2) for b in range(3)])
    parts = {"a": 2.25 / (2.25 + 2 / 3), "b": 2 / 3 / (2.25 + 2 / 3)}
    assert {one.name: one.share for one in found} == pytest.approx(parts)
