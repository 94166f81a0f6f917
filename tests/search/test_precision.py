"""Steps in bfloat16: products and activations are, whatever is kept between steps is not."""

from __future__ import annotations

import re
from dataclasses import replace

import jax
import pytest

from dnas.data import synthetic
from dnas.errors import InputError
from dnas.grammar.read import space_from_data
from dnas.nn.gates import uniform
from dnas.plan.programs import recorded
from dnas.process.precision import chosen
from dnas.runs.identity import told_apart
from dnas.search.descent import fresh, optimizer, planned, streams
from dnas.search.learn import as_targets, learning
from dnas.search.problem import Problem, make_problem
from dnas.search.run import identity
from dnas.search.settings import Settings, with_overrides

DATA = {
    "name": "short",
    "input": {"channels": 1, "classes": 2, "resolution": {"choices": [8, 16]}},
    "trunk": [
        {"conv": {"out": 8, "stride": 2, "kernel": 3, "act": "relu"}},
        {"mbconv": {"out": {"range": [8, 16, 4]}, "hidden": 16, "kernel": {"choices": [3, 5]}, "se": True}},
        {"repeat": 2, "one_of": [
            {"label": "a", "mbconv": {"out": 16, "hidden": 8}}, {"label": "b", "mbconv": {"out": 16, "hidden": 16}},
            {"label": "c", "conv": {"out": 16, "kernel": 3}},
        ]},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
PRODUCTS = re.compile(r"stablehlo\.(dot_general|convolution).*-> tensor<(?:\d+x)*(\w+)>")


def problem_of(**settings) -> Problem:
    space = space_from_data(DATA, "short")
    return make_problem(space, [], synthetic.needs_large_kernel(0), Settings(batch_size=4, **settings), 0)


def arguments(problem: Problem) -> tuple:
    variables, _ = fresh(problem, optimizer(problem.settings, planned(problem)))
    images, labels = streams(problem)[0].at(0)
    return variables, uniform(problem.layout), images, as_targets(labels, problem.dataset.classes)


@pytest.mark.parametrize("settings", [{}, {"low_memory": True}, {"resolution_paths": 0, "paths": 0}])
def test_a_step_multiplies_in_bfloat16_and_gives_float32(settings):
    problem = problem_of(precision="bfloat16", **settings)
    lowered = jax.jit(learning(problem)).trace(*arguments(problem)).lower(lowering_platforms=("tpu",))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(lowered.out_info)} <= {"float32", "int32"}
    convolutions = [kind for name, kind in PRODUCTS.findall(lowered.as_text()) if name == "convolution"]
    assert convolutions and set(convolutions) == {"bf16"}


def test_evaluations_stay_in_float32():
    with recorded(problem_of(precision="bfloat16"), "dmasking", here=False) as programs:
        (compare,) = (program for program in programs if program.name == "compare")
        assert "bf16" not in str(compare.traced().jaxpr)


def test_precision_is_part_of_what_a_run_is():
    usual = identity(problem_of(), "dmasking")
    assert usual == identity(problem_of(precision="float32"), "dmasking")
    other = identity(problem_of(precision="bfloat16"), "dmasking")
    assert told_apart(other, usual) == "precision bfloat16 there, float32 here"


def test_cpus_compute_in_float32_unless_asked():
    assert chosen(None) == "float32" and problem_of().precision == "float32"
    with pytest.raises(InputError, match="float32, bfloat16"):
        chosen("float16")  # pyright: ignore
    with pytest.raises(InputError, match="--precision"):
        with_overrides("quick", precision="float16")


def test_less_memory_is_reckoned_with():
    from dnas.search.memory import estimate

    problem = problem_of(precision="bfloat16")
    whole = estimate(replace(problem, settings=replace(problem.settings, precision="float32")), "dmasking")
    need = estimate(problem, "dmasking")
    assert need.learn < whole.learn and need.assess == whole.assess
