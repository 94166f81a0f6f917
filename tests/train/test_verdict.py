"""The last words on a training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dnas.learning.evaluator import Tally
from dnas.train import verdict


@pytest.fixture
def setup():
    labels = np.arange(1000) % 10
    return SimpleNamespace(dataset=SimpleNamespace(test_labels=labels, classes=10), validation_index=np.arange(400))


def counts(right: int) -> Tally:
    return Tally(1000, right, 1000, np.zeros((10, 10), np.int64))


def test_a_training_that_ends_no_better_than_it_began_says_so(setup):
    said = verdict.warnings(setup, counts(600), 0.65, 0.60)
    assert len(said) == 1 and "did not improve on the weights it began with" in said[0]
    assert verdict.warnings(setup, counts(600), 0.60, 0.65) == []
    assert verdict.warnings(setup, counts(600), None, 0.60) == []


def test_a_training_at_chance_is_warned_of(setup):
    assert "at chance" in verdict.warnings(setup, counts(110), None, 0.1)[0]
    assert verdict.good(setup, counts(110), None, 0.1).startswith("is it good? no")
    assert "validation went from 20.0 % to 60.0 %" in verdict.good(setup, counts(600), 0.2, 0.6)
