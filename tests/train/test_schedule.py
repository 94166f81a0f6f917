"""Learning rates against closed forms in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import optax
import pytest

from dnas.train.recipe import read_recipe, with_values
from dnas.train.schedule import schedule

QUICK = read_recipe("quick").fixed()
PER_EPOCH = 10


def rates(recipe, epochs: int) -> list[float]:
    steps = epochs * PER_EPOCH
    rate = schedule(recipe, steps, PER_EPOCH)
    return [float(rate(t)) for t in range(steps)]


def test_cosine_with_warm_up():
    recipe = replace(QUICK, lr=0.4, lr_floor=0.02, warmup_epochs=2, warmup_lr=0.01, schedule="cosine")
    wanted = [0.01 + (0.4 - 0.01) * t / 20 for t in range(20)]
    wanted += [0.02 + (0.4 - 0.02) * (1 + math.cos(math.pi * (t - 20) / 80)) / 2 for t in range(20, 100)]
    np.testing.assert_allclose(rates(recipe, 10), wanted, rtol=1e-5)
    other = optax.warmup_cosine_decay_schedule(0.01, 0.4, 20, 100, 0.02)
    np.testing.assert_allclose(rates(recipe, 10), [float(other(t)) for t in range(100)], rtol=1e-5)


def test_steps_of_fbnet():
    recipe = with_values(read_recipe("fbnet").fixed(), {})
    found = rates(recipe, 360)
    assert found[0] == found[90 * PER_EPOCH - 1] == pytest.approx(0.1)
    for epoch, value in ((90, 0.01), (179.9, 0.01), (180, 0.001), (270, 0.0001), (359.9, 0.0001)):
        assert found[int(epoch * PER_EPOCH)] == pytest.approx(value, rel=1e-5)


def test_exponential_and_constant():
    recipe = replace(QUICK, lr=0.1, warmup_epochs=0, schedule="exponential", decay_epochs=(2.4,), decay_rate=0.97)
    np.testing.assert_allclose(rates(recipe, 12), [0.1 * 0.97 ** (t / 24) for t in range(120)], rtol=1e-5)
    np.testing.assert_allclose(rates(replace(recipe, schedule="constant"), 2), 0.1, rtol=1e-6)


def test_efficientformer_scales_with_the_batch_and_ends_at_its_floor():
    recipe = with_values(read_recipe("efficientformer").fixed(), {"batch_size": 128})
    found = rates(recipe, 300)
    assert found[0] == pytest.approx(1e-5) and max(found) == pytest.approx(1e-3 * 128 / 1024, rel=1e-5)
    assert found[-1] == pytest.approx(1e-5, rel=1e-2)


def test_a_run_shorter_than_its_warm_up_still_ends_above_zero():
    rate = schedule(replace(QUICK, warmup_epochs=1.0), 3, 100)
    assert all(math.isfinite(float(rate(t))) for t in range(3)) and float(rate(2)) > 0
