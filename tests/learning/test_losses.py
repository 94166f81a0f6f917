"""Losses against plain numpy forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnas.learning.losses import cross_entropy, hard_distillation, soft_distillation, targets

GENERATOR = np.random.default_rng(0)
LOGITS, TEACHER = (GENERATOR.normal(0, 3, (6, 4)).astype(np.float32) for _ in range(2))
SCORES, TAUGHT = jnp.asarray(LOGITS), jnp.asarray(TEACHER)
LABELS = np.array([0, 3, 1, 1, 2, 0])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@given(smoothing=st.floats(0, 0.9), share=st.floats(0, 1))
def test_targets_are_mixed_and_smoothed_label_by_label(smoothing, share):
    found = targets(LABELS, 4, smoothing, share)
    for n in range(6):
        for c in range(4):
            own, partner = LABELS[n] == c, LABELS[5 - n] == c
            wanted = (1 - smoothing) * (share * own + (1 - share) * partner) + smoothing / 4
            assert float(found[n, c]) == pytest.approx(wanted, abs=1e-6)
    np.testing.assert_allclose(np.sum(found, 1), 1, rtol=1e-5)


def test_mixed_cross_entropy_is_the_mix_of_cross_entropies():
    """lambda CE(y) + (1 - lambda) CE(y of the partner), the form in which mixup is printed."""
    share, p = 0.3, softmax(LOGITS)
    own = -np.mean([np.log(p[n, LABELS[n]]) for n in range(6)])
    partner = -np.mean([np.log(p[n, LABELS[5 - n]]) for n in range(6)])
    found = cross_entropy(SCORES, targets(LABELS, 4, share=share))
    assert float(found) == pytest.approx(share * own + (1 - share) * partner, rel=1e-5)


def test_label_smoothing_is_a_mix_with_the_uniform_target():
    p = softmax(LOGITS)
    own = -np.mean([np.log(p[n, LABELS[n]]) for n in range(6)])
    wanted = 0.9 * own + 0.1 * -np.mean(np.log(p))
    assert float(cross_entropy(SCORES, targets(LABELS, 4, 0.1))) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_distillation_is_the_scaled_divergence(temperature):
    p, q = softmax(TEACHER / temperature), softmax(LOGITS / temperature)
    wanted = temperature**2 * np.mean(np.sum(p * np.log(p / q), 1))
    assert float(soft_distillation(SCORES, TAUGHT, temperature)) == pytest.approx(wanted, rel=1e-4)
    assert float(soft_distillation(TAUGHT, TAUGHT, temperature)) == pytest.approx(0, abs=1e-6)
    gradient = jax.grad(soft_distillation)(SCORES, TAUGHT, temperature)
    np.testing.assert_allclose(gradient, temperature * (q - p) / 6, rtol=1e-3, atol=1e-6)


def test_hard_distillation_is_cross_entropy_of_the_first_guess():
    p = softmax(LOGITS)
    wanted = -np.mean([np.log(p[n, np.argmax(TEACHER[n])]) for n in range(6)])
    assert float(hard_distillation(SCORES, TAUGHT)) == pytest.approx(wanted, rel=1e-5)


def test_losses_of_extreme_scores_are_finite():
    extreme = jnp.array([[1e4, -1e4], [-1e4, 1e4]], jnp.float32)
    for loss in (soft_distillation, hard_distillation):
        assert np.all(np.isfinite(jax.grad(loss)(extreme, extreme[::-1], 1.0)))
