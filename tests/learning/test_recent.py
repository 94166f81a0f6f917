"""The running accuracy of step lines."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.learning.recent import IMAGES, Recent, without
from dnas.search.console import _running


def fed(recent: Recent, rows: list[dict[str, float]]) -> Recent:
    for row in rows:
        recent.add({name: jnp.float32(value) for name, value in row.items()})
    return recent


def test_a_validation_accuracy_comes_before_the_training_accuracy():
    rows = [{"accuracy": 1.0}, {"accuracy": 1.0, "theta_accuracy": 0.25}, {"accuracy": 1.0, "theta_accuracy": 0.75}]
    assert fed(Recent(16, {}), rows).row() == {"val_accuracy": 0.5, "val_images": 32}
    assert fed(Recent(16, {}), rows[:1]).row() == {"train_accuracy": 1.0, "train_images": 16}
    assert Recent(16, {}).row() == {}


def test_only_the_last_images_count_and_none_of_a_former_phase():
    recent = fed(Recent(16, {}), [{"theta_accuracy": 0.0}] * 100 + [{"theta_accuracy": 1.0}] * (IMAGES // 16))
    assert recent.row() == {"val_accuracy": 1.0, "val_images": IMAGES}
    recent.begin()
    assert fed(recent, [{"accuracy": 0.5}]).row() == {"train_accuracy": 0.5, "train_images": 16}


def test_a_continued_run_goes_on_with_the_same_numbers():
    random = np.random.default_rng(0)
    rows = [{"accuracy": float(a), "theta_accuracy": float(b)} for a, b in random.random((60, 2)).astype(np.float32)]
    whole = fed(Recent(16, {}), rows)
    half = fed(Recent(16, {}), rows[:30])
    stored = json.loads(json.dumps({k: np.asarray(v).tolist() for k, v in half.kept().items()}))
    assert without(stored | {"loss": 1.0}) == {"loss": 1.0}
    assert fed(Recent(16, stored), rows[30:]).row() == whole.row()


@pytest.mark.parametrize(
    "line, shown",
    [
        ({"loss": 1.0, "val_accuracy": 0.613, "val_images": 512}, "val 61.3 +- 2.2 %"),
        ({"loss": 1.0, "train_accuracy": 0.3, "train_images": 64}, "running training accuracy 30.0 +- 5.8 %"),
    ],
)
def test_step_lines_show_an_accuracy_with_its_error(line, shown):
    """They showed the training accuracy of one batch of 16 images."""
    problem = None
    assert _running(line, problem)[-1] == shown  # type: ignore[arg-type]
