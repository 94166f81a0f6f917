"""How theta moves: in proportion to what the data say of each option."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dnas.nn.gates import Gates, Layout, probabilities
from dnas.search.theta import in_proportion, natural
from dnas.space.quantity import Choice

LAYOUT = Layout((Choice("a", (0, 1)), Choice("b", (0, 1, 2))))


def test_natural_gradient_of_a_linear_loss_is_each_options_loss_less_the_mean():
    """Amari 1998: for a softmax with loss <p, G> the natural gradient is G_i - <p, G>, whatever p is."""
    theta = jnp.asarray([[0.3, -0.2, 0.0], [1.0, 0.0, -0.5]])
    losses = jnp.asarray([[1.0, 3.0, 0.0], [0.5, 0.2, 0.9]])
    p = probabilities(LAYOUT, theta)
    gradient = jax.grad(lambda t: jnp.sum(probabilities(LAYOUT, t).values * losses))(theta)
    expected = np.where(LAYOUT.real, losses - jnp.sum(p.values * losses, -1, keepdims=True), 0)
    np.testing.assert_allclose(natural(gradient, p), expected, atol=1e-6)


def test_a_rare_option_is_not_thrown_about():
    p = Gates(jnp.asarray([[1e-9, 1.0, 0.0], [0.5, 0.5, 0.0]]), LAYOUT)
    assert np.abs(natural(jnp.full(LAYOUT.shape, 1e-3), p)).max() <= 0.02 + 1e-6


def test_steps_keep_the_gradients_proportions_and_forget_their_unit():
    """Adam would move both choices by as much."""
    gradient = jnp.asarray([[1e-2, -1e-2, 0.0], [1e-5, -1e-5, 0.0]])
    for unit in (1.0, 1e-4, 1e4):
        rule = in_proportion(0.1)
        theta = jnp.zeros(LAYOUT.shape)
        state = rule.init(theta)
        for _ in range(5):
            step, state = rule.update(unit * gradient, state)
            theta = optax.apply_updates(theta, step)
        moved = np.asarray(theta)
        np.testing.assert_allclose(moved[0, :2] / moved[1, :2], 1e3, rtol=1e-4)
        assert 0.1 < abs(moved[0, 0]) < 5


def test_no_gradient_no_step():
    rule = in_proportion(0.1)
    step, _ = rule.update(jnp.zeros(LAYOUT.shape), rule.init(jnp.zeros(LAYOUT.shape)))
    assert np.all(np.asarray(step) == 0)
