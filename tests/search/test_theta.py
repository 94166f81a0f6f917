"""How theta moves: in proportion to what the data say of each option."""

from __future__ import annotations

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dnas.cost.budget import parse_budget
from dnas.data import synthetic
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import read_space
from dnas.nn.gates import Gates, Layout, init_theta, probabilities
from dnas.search.collapse import Temperature
from dnas.search.problem import make_problem
from dnas.search.settings import Settings
from dnas.search.shortlist import LIKE
from dnas.search.theta import drawing, in_proportion, natural
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


def networks(budgets, theta=None, count=200):
    """One-hot draws, their costs over the limits, and the problem."""
    problem = make_problem(load_space("tiny"), [parse_budget(b) for b in budgets], synthetic.needs_large_kernel(0),
                           Settings(), 0)  # fmt: skip
    theta = init_theta(problem.layout) if theta is None else theta(problem.layout)
    draw, heat = jax.jit(drawing(problem)), Temperature(jnp.float32(3), jnp.float32(0.5))
    drawn = [draw(theta, jax.random.key(0), n, heat, jnp.asarray(True), problem.limits)[0] for n in range(count)]
    assert all(np.all(np.sort(g.values, axis=1)[:, -1] == 1) and np.sum(g.values) == len(g.values) for g in drawn)
    return problem, drawn, np.array([np.max(problem.expected(g) / problem.limits, initial=0) for g in drawn])


@pytest.mark.parametrize("budgets", [["150kFLOPs"], ["120kFLOPs", "9kparams"]])
def test_the_weights_learn_under_networks_that_could_be_found(budgets):
    """Of even draws, one in fifteen keeps the budgets and uses nine tenths of one."""
    _, drawn, used = networks(budgets)
    assert np.mean(used <= 1) > 0.97 and np.mean((used <= 1) & (used >= LIKE)) > 0.5
    assert len({np.asarray(g.values).tobytes() for g in drawn}) > 100


SPACE = """
input: {channels: 1, classes: 2, resolution: 16}
choices: {a: {choices: [8, 16, 24]}, b: {choices: [8, 16, 24]}, c: {choices: [8, 16, 24]}, d: {choices: [8, 16]}}
where: [$a <= $b, $b <= $c]
trunk:
  - conv: {out: $a}
  - conv: {out: $b}
  - conv: {out: $c}
  - conv: {out: $d}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def test_networks_are_drawn_among_those_that_the_constraints_allow(tmp_path):
    """Each as often as its probability among them says; d, which no constraint mentions, as it says alone."""
    (tmp_path / "s.yaml").write_text(SPACE)
    problem = make_problem(read_space(tmp_path / "s.yaml"), [], synthetic.needs_large_kernel(0), Settings(), 0)
    theta = jnp.asarray(np.random.default_rng(1).normal(size=problem.layout.shape), jnp.float32)
    draw, heat = jax.jit(jax.vmap(drawing(problem), (None, None, 0, None, None, None))), Temperature(1.0, 1.0)
    count = 4000
    hot = draw(theta, jax.random.key(0), jnp.arange(count), heat, jnp.asarray(True), problem.limits)[0].values
    drawn = collections.Counter(map(tuple, np.argmax(hot, axis=2).tolist()))
    p = np.asarray(probabilities(problem.layout, theta).values)
    shares = {
        (a, b, c, d): p[0, a] * p[1, b] * p[2, c] * p[3, d]
        for a, b, c, d in itertools.product(range(3), range(3), range(3), range(2)) if a <= b <= c
    }  # fmt: skip
    assert drawn.keys() <= shares.keys()
    total = sum(shares.values())
    for network, share in shares.items():
        expected = count * share / total
        assert abs(drawn[network] - expected) < 5 * expected**0.5 + 3


def test_networks_are_drawn_as_theta_says_where_there_is_no_budget():
    problem, drawn, _ = networks([], lambda layout: init_theta(layout).at[0, 0].set(2.0), 400)
    share = np.mean([np.asarray(g.values)[0, 0] for g in drawn])
    assert share == pytest.approx(float(np.exp(2) / (np.exp(2) + len(problem.layout.choices[0]) - 1)), abs=0.06)


def test_where_no_draw_keeps_the_budget_the_least_above_it_is_taken():
    def largest(layout):
        return jnp.asarray(3.0 * np.arange(layout.shape[1]) * layout.real, jnp.float32)

    problem, _, used = networks(["100kFLOPs"], largest, 50)
    mean = float(problem.expected(probabilities(problem.layout, largest(problem.layout)))[0] / problem.limits[0])
    assert 1 < used.mean() < 0.7 * mean
