"""Rows of the blocks that run: the same numbers as whole vectors, and nothing else is touched."""

from __future__ import annotations

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dnas.data.synthetic import plain
from dnas.grammar.read import space_from_data
from dnas.nn import rows
from dnas.nn.gates import gumbel_softmax, init_theta, one_hot
from dnas.nn.packing import Packing
from dnas.nn.supernet import init
from dnas.nn.wing import wing
from dnas.search.descent import (
    Weights,
    _like_params,
    compile_update,
    descent,
    fresh,
    stepping,
    updating,
    writing,
)
from dnas.search.learn import learned_like, learning, packing_of
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import Settings
from tests.nn.test_branches import QUICK, WRITTEN

TABLE = rows.Table(np.array([[0, 3, 8, 0], [8, 11, 16, 8]]), np.array([[3, 5, 0, 0], [3, 5, 1, 0]]), 5)
"""Two layers of three options and nothing, the third of the first layer without parameters."""
VECTOR = np.arange(1, 17 + 5 + 1, dtype=np.float32)


@pytest.mark.parametrize("chosen", [[[0], [1]], [[1, 0], [0, 2]], [[3, 2], [2, 3]]])
def test_rows_are_taken_and_put(chosen):
    chosen = np.array(chosen)
    taken = np.asarray(rows.take(jnp.asarray(VECTOR), TABLE, jnp.asarray(chosen)))
    expected, put = np.zeros((*chosen.shape, 5), np.float32), VECTOR.copy()
    for layer, path in np.ndindex(chosen.shape):
        start, size = (part[layer, chosen[layer, path]] for part in TABLE[:2])
        expected[layer, path, :size] = VECTOR[start : start + size]
        put[start : start + size] *= -1
    np.testing.assert_array_equal(taken, expected)
    np.testing.assert_array_equal(rows.put(jnp.asarray(VECTOR), TABLE, jnp.asarray(chosen), jnp.asarray(-taken)), put)


def test_the_gradient_of_rows_is_added_up_where_they_come_from():
    chosen = jnp.array([[1, 1], [3, 0]])
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 5)), jnp.float32)
    found = jax.grad(lambda v: jnp.sum(weights * rows.take(v, TABLE, chosen)))(jnp.asarray(VECTOR))
    expected = np.zeros_like(VECTOR)
    expected[3:8] = weights[0].sum(0)
    expected[8:11] = weights[1, 1, :3]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@functools.cache
def problem(name: str, paths: int) -> Problem:
    settings = Settings(paths=paths, batch_size=6, resolution_paths=0, weight_decay=0.0)
    return make_problem(space_from_data(copy.deepcopy(WRITTEN[name]), name), [], plain(0, 200, 16, 3), settings, 0)


@functools.cache
def learned(name: str, paths: int):
    """Variables, what is learned of rows and of all parameters, under the same gates."""
    made = problem(name, paths)
    variables = fresh(made, optax.sgd(0.1)).variables
    gates = gumbel_softmax(made.layout, init_theta(made.layout), jax.random.key(2), 1.0)
    images, targets = made.dataset.train_images[:6], np.eye(3, dtype=np.float32)[made.dataset.train_labels[:6]]
    both = [
        jax.jit(learning(made, whole), compiler_options=QUICK)(variables, gates, images, targets)
        for whole in (False, True)
    ]
    return variables, *both


@pytest.mark.parametrize("paths", [1, 2])
@pytest.mark.parametrize("name", ["chain", pytest.param("inner", marks=pytest.mark.slow)])
def test_the_gradient_of_rows_is_that_of_all_parameters(name, paths):
    _, some, whole = learned(name, paths)
    packing = packing_of(problem(name, paths))
    zeros = jax.tree.map(jnp.zeros_like, whole.params)
    everywhere = packing.with_used(zeros, some.params, some.chosen)
    assert any(np.asarray(leaf).any() for leaf in everywhere.values())
    for vector, leaf in everywhere.items():
        np.testing.assert_allclose(leaf, whole.params[vector], atol=1e-5 * np.abs(leaf).max(), err_msg=vector)
    np.testing.assert_allclose(some.gates, whole.gates, atol=1e-5)
    for vector, leaf in some.statistics.items():
        np.testing.assert_allclose(leaf, whole.statistics[vector], rtol=1e-5, atol=1e-6, err_msg=vector)


@pytest.mark.parametrize("paths", [1, 2])
def test_what_runs_takes_the_step_that_it_takes_among_all_parameters(paths):
    """The first step, without decay: what does not run has no gradient, and moves no norm of it."""
    variables, some, whole = learned("chain", paths)
    packing = packing_of(problem("chain", paths))
    rule = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, 0.9))
    state = rule.init(variables["params"])
    wanted, moved = updating(rule)(variables, state, whole.params, {}, whole.statistics)
    after = stepping(rule, packing)(variables["params"], state, some.params, some.chosen)
    found, kept = writing(packing)(variables, state, after, some.chosen, some.statistics)
    for a, b in zip(*(jax.tree.leaves(tree) for tree in ((found, kept), (wanted, moved))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_what_does_not_run_is_left_alone():
    """Its weights, momentum and decay, in every later step."""
    made = problem("chain", 1)
    packing = packing_of(made)
    rule = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, 0.9))
    variables = fresh(made, rule).variables
    state = jax.tree.map(lambda leaf: leaf + 1.0, rule.init(variables["params"]))
    first = {c.name: 0 for c in made.space.choices}
    chosen = packing.chosen(one_hot(made.layout, first))
    used = packing.used(variables["params"], chosen)
    after = stepping(rule, packing)(variables["params"], state, jax.tree.map(jnp.ones_like, used), chosen)
    found, kept = writing(packing)(variables, state, after, chosen, variables["batch_stats"])
    before, now = packing.unpack({"params": variables["params"]})["params"], packing.unpack(found)["params"]
    momentum: list = []
    _like_params(lambda leaves: momentum.append(packing.unpack_group("params", leaves)), kept)
    assert any(".k5." in path for path in before) and len(momentum) == 1
    for path, leaf in before.items():
        runs = ".k3." in path or not any(f".{label}." in path for label in ("k5", "g2", "se", "skip"))
        assert (np.asarray(now[path]) != np.asarray(leaf)).all() == runs, path
        assert (np.asarray(momentum[0][path]) != 1).all() == runs, path


@pytest.mark.parametrize("paths", [None, 1, 2, 5])
@pytest.mark.parametrize("name", list(WRITTEN))
def test_packed_and_unpacked_again(name, paths):
    space = space_from_data(copy.deepcopy(WRITTEN[name]), name)
    packing, variables = Packing(space, paths), init(space, jax.random.key(0))
    packed = packing.pack(variables)
    assert bool(packing.runs) == (paths in (1, 2)), "of five blocks at most"
    found = packing.unpack(packed)
    for group, leaves in variables.items():
        assert found[group].keys() == leaves.keys()
        for path, leaf in leaves.items():
            np.testing.assert_array_equal(found[group][path], leaf, err_msg=path)


@pytest.mark.parametrize("in_place", [False, True])
def test_an_update_copies_no_vector_of_all_blocks(in_place):
    """By the compiler's figure: what is written is written in place."""
    if in_place and wing().rows is None:
        pytest.skip("this process has no forms for CPUs")
    made = problem("chain", 1)
    rule = descent(lambda n: 0.1, 0.1, 0.5, 0.9)
    variables, opt = fresh(made, rule)
    gates = one_hot(made.layout, {c.name: 0 for c in made.space.choices})
    learned = learned_like(made, variables, gates)
    compiled = {}

    def compiler(function, *arguments, donate=(), gives=None):
        lowered = jax.jit(function, donate_argnums=tuple(donate)).lower(*arguments)
        compiled[function.__name__] = lowered.compile()
        return compiled[function.__name__]

    if not in_place:
        rule = optax.GradientTransformation(rule.init, rule.update)
    compile_update(made, compiler, rule, Weights(variables, opt), learned)  # pyright: ignore
    assert set(compiled) == ({"update_weights"} if in_place else {"step_used", "write_used"})
    vector = variables["params"]["blocks.matrices"]
    for program in compiled.values():
        assert program.memory_analysis().temp_size_in_bytes < vector.nbytes / 2
        assert f"f32[{len(vector)}]{{0}} copy(" not in program.as_text()
