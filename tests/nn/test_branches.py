"""Choices between whole blocks of which a few are run: the same numbers as the soft mixture, in a few programs."""

from __future__ import annotations

import copy
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.program import program_key
from dnas.graph.sampled import runs_of, sampled
from dnas.nn.gates import Gates, Layout, gumbel_softmax, init_theta, keep_largest, one_hot, straight_through
from dnas.nn.supernet import Supernet, abstract_variables
from tests.nn.test_one_hot import random_variables

BLOCKS = [
    {"label": "k3", "mbconv": {"kernel": 3, "expand": 2, "out": "$out", "stride": "$stride"}},
    {"label": "k5", "mbconv": {"kernel": 5, "expand": 2, "out": "$out", "stride": "$stride"}},
    {"label": "g2", "mbconv": {"kernel": 5, "expand": 1, "groups": 2, "out": "$out", "stride": "$stride"}},
    {"label": "se", "mbconv": {"kernel": 3, "expand": 2, "se": True, "out": "$out", "stride": "$stride"}},
    {"label": "skip", "skip": {"out": "$out", "stride": "$stride"}},
]
CHAIN = {
    "name": "chain",
    "input": {"channels": 2, "classes": 3, "resolution": 8},
    "templates": {"tbs": {"one_of": BLOCKS}},
    "trunk": [
        {"conv": {"kernel": 3, "out": 8, "act": "relu"}},
        {"tbs": {"out": 16, "stride": 2}},
        {"tbs": {"repeat": 2, "out": 16}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
# Choices inside the branches, tied widths, a choice of the resolution, a range of repetitions, a branch in a branch.
INNER = {
    "name": "inner",
    "input": {"channels": 2, "classes": 3, "resolution": {"choices": [6, 8]}},
    "choices": {"w": {"choices": [4, 8]}},
    "templates": {
        "tbs": {
            "one_of": [
                {"label": "a", "mbconv": {"out": "$w", "kernel": {"choices": [3, 5]}, "expand": {"choices": [1, 2]}}},
                {"label": "b", "mbconv": {"out": "$w", "kernel": 5, "se": {"choices": [False, True]}}},
                {"label": "c", "one_of": [{"skip": {"out": "$w"}}, {"conv": {"out": "$w", "kernel": 3}},
                                          {"conv": {"out": "$w", "kernel": 3, "act": "relu"}}]},
            ]
        }
    },
    "trunk": [
        {"conv": {"kernel": 3, "out": "$w", "act": "relu"}},
        {"tbs": {"repeat": 2}},
        {"tbs": {"repeat": {"range": [1, 2, 1]}}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
SMOOTH = {
    "name": "smooth",
    "input": {"channels": 2, "classes": 3, "resolution": 8},
    "trunk": [
        {"conv": {"kernel": 3, "out": 8, "act": "swish"}},
        {
            "repeat": 3,
            "one_of": [
                {"label": "k3", "mbconv": {"kernel": 3, "out": 8, "act": "swish"}},
                {"label": "k5", "mbconv": {"kernel": 5, "out": 8, "act": "swish"}},
                {"label": "e2", "mbconv": {"kernel": 3, "out": 8, "act": "swish", "expand": 2}},
                {"label": "skip", "skip": {"out": 8}},
            ],
        },
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
WRITTEN = {"chain": CHAIN, "inner": INNER, "smooth": SMOOTH}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@functools.cache
def prepared(name: str):
    space = space_from_data(copy.deepcopy(WRITTEN[name]), name)
    side = space.resolution.max()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, side, side, 2)), jnp.float32)
    return space, random_variables(space, 1), images


def blocks_of(space) -> list[str]:
    return [c.name for c in space.choices if c.name.endswith("one_of")]


@functools.cache
def programs(name: str, paths: int | None):
    """`(variables, gates) -> loss, (gradients, statistics)` in training mode, and the logits in evaluation mode."""
    space, _, images = prepared(name)
    net, layout = Supernet(space, paths=paths), Layout(space.choices)

    def loss(params, values, stats):
        (logits, _), updated = net.apply(
            {"params": params, "batch_stats": stats}, images, Gates(values, layout), momentum=0.9,
            mutable=["batch_stats"],
        )  # fmt: skip
        return jnp.sum(jnp.sin(0.1 * logits * jnp.arange(1.0, 10.0).reshape(3, 3))), (logits, updated["batch_stats"])

    learn = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
    evaluate = jax.jit(lambda v, g: net.apply(v, images, Gates(g, layout))[0], compiler_options=QUICK)
    return learn, evaluate


def drawn(space, seed: int, paths: int) -> Gates:
    layout = Layout(space.choices)
    gates = gumbel_softmax(layout, init_theta(layout), jax.random.key(seed), 1.0)
    return keep_largest(gates, blocks_of(space), paths) if paths > 1 else straight_through(gates)


def close(a, b, tolerance: float) -> None:
    np.testing.assert_allclose(a, b, atol=tolerance * max(1e-3, float(jnp.abs(b).max())))


@pytest.mark.parametrize("paths", [1, 2])
@pytest.mark.parametrize("name", ["chain", pytest.param("inner", marks=pytest.mark.slow)])
def test_what_runs_is_the_soft_mixture_of_the_kept(name, paths):
    """Where no other block has weight: logits in both modes, every gradient, and the kept blocks' statistics."""
    space, variables, _ = prepared(name)
    layout = Layout(space.choices)
    soft, sampled = programs(name, None), programs(name, paths)
    for seed in range(4):
        gates = drawn(space, seed, paths).values
        close(sampled[1](variables, gates), soft[1](variables, gates), 2e-5)
        (_, (logits, stats)), (params, values) = sampled[0](variables["params"], gates, variables["batch_stats"])
        (_, (expected, wanted)), (d_params, d_values) = soft[0](variables["params"], gates, variables["batch_stats"])
        close(logits, expected, 5e-5)
        scale = max(float(jnp.abs(leaf).max()) for leaf in d_params.values())
        for path, leaf in params.items():
            np.testing.assert_allclose(leaf, d_params[path], atol=1e-4 * scale, err_msg=path)
        kept = np.asarray(gates) > 0
        close(jnp.where(kept, values, 0), jnp.where(kept, d_values, 0), 1e-4)
        for choice in blocks_of(space):
            row = layout.rows[choice]
            np.testing.assert_array_equal(values[row][~kept[row]], 0)
        left = {path for path in stats if runs(space, gates, path) is False}
        assert left
        for path, leaf in stats.items():
            if path in left:
                np.testing.assert_array_equal(leaf, variables["batch_stats"][path], err_msg=path)
            else:
                np.testing.assert_allclose(leaf, wanted[path], rtol=1e-4, atol=1e-5, err_msg=path)


def runs(space, gates, path: str) -> bool:
    """Whether a parameter's block is in a branch whose gate is not 0."""
    rows = Layout(space.choices).rows
    for choice in space.choices:
        stem = choice.name.removesuffix(".one_of")
        if stem != choice.name and path.startswith(f"{stem}."):
            label = path[len(stem) + 1 :].split(".")[0]
            if gates[rows[choice.name], choice.options.index(label)] == 0:
                return False
    return True


@pytest.mark.parametrize("name", ["chain", pytest.param("inner", marks=pytest.mark.slow)])
def test_at_one_hot_gates_it_is_the_soft_supernet(name):
    """Which is the plain network there (`test_one_hot`); with two paths the second has no weight and does not run."""
    space, variables, _ = prepared(name)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        taken = {c.name: int(rng.integers(len(c))) for c in space.choices}
        gates = one_hot(Layout(space.choices), taken).values
        expected = programs(name, None)[1](variables, gates)
        for paths in (1, 2):
            close(programs(name, paths)[1](variables, gates), expected, 2e-5)


def test_gradient_of_the_gates_against_finite_differences():
    space, variables, _ = prepared("smooth")
    learn, _ = programs("smooth", 2)
    gates = drawn(space, 0, 2).values

    def at(values) -> float:
        return float(learn(variables["params"], values, variables["batch_stats"])[0][0])

    gradient = learn(variables["params"], gates, variables["batch_stats"])[1][1]
    step, kept = 0.01, np.argwhere(np.asarray(gates) > 0.02)
    assert len(kept) >= 5
    for row, column in kept:
        difference = at(gates.at[row, column].add(step)) - at(gates.at[row, column].add(-step))
        assert difference / (2 * step) == pytest.approx(float(gradient[row, column]), rel=0.02, abs=0.01)


def test_programs_are_shared_by_kernels_and_by_layers():
    space, _, _ = prepared("chain")
    first, rest = runs_of(sampled(graph_of(space), 2).parts)
    assert len(first.layers) == 1, "stride and width change in the first layer of a stage"
    assert len(rest.layers) == 2 and rest.output.side.value == 4
    k3, k5, g2, se, skip = rest.programs
    assert k3.steps == k5.steps and k3.size < k5.size
    assert len({k3.steps, g2.steps, se.steps, skip.steps}) == 4


def test_other_widths_paddings_and_wirings_are_other_programs():
    def program(block: dict, x: int = 8):
        data = {
            "name": "s", "input": {"channels": x, "classes": 3, "resolution": 8}, "trunk": [block],
            "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
        }  # fmt: skip
        space = space_from_data(data, "s")
        block = graph_of(space).uses[0]
        return program_key(block.parts, block.input, block.out).steps

    base = {"out": 8, "kernel": 3, "expand": 2}
    assert program({"mbconv": base}) == program({"mbconv": base | {"kernel": 7}})
    for other in ({"hidden": 24}, {"out": 16}, {"act": "hswish"}, {"residual": False}, {"bias": True}, {"se": True},
                  {"stride": 2}, {"second_depthwise": True}):  # fmt: skip
        assert program({"mbconv": base}) != program({"mbconv": base | other}), other
    alone = base | {"residual": False}
    assert program({"mbconv": alone}) != program({"mbconv": alone | {"kernel": 5, "padding": 1}})
    assert program({"conv": {"out": 8}}) != program({"conv": {"out": 8, "kernel": 3}}), "a 1x1 product is no 3x3"


@pytest.mark.slow
def test_a_step_costs_its_largest_block_and_is_compiled_once():
    """Nine options of FBNet, one path: by the compiler's count, and by the branches of the conditionals."""
    blocks = load_space("fbnetv1_32").document.data["templates"]

    def step(layers: int, paths: int | None) -> jax.stages.Compiled:
        data = {
            "name": "cut", "input": {"channels": 4, "classes": 10, "resolution": 8}, "templates": blocks,
            "trunk": [{"tbs": {"out": 24}}, {"tbs": {"repeat": layers, "out": 24}}],
            "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
        }  # fmt: skip
        space = space_from_data(data, "cut")
        net, layout, variables = Supernet(space, paths=paths), Layout(space.choices), abstract_variables(space)

        def loss(params, values, stats, images):
            (logits, _), updated = net.apply(
                {"params": params, "batch_stats": stats}, images, Gates(values, layout), momentum=0.9,
                mutable=["batch_stats"],
            )  # fmt: skip
            return jnp.sum(logits**2), updated

        values = jax.ShapeDtypeStruct(layout.shape, jnp.float32)
        images = jax.ShapeDtypeStruct((4, 8, 8, 4), jnp.float32)
        learn = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
        return learn.lower(variables["params"], values, variables["batch_stats"], images).compile()

    def branches(program: jax.stages.Compiled) -> list[int]:
        found = re.findall(r"conditional\(.*branch_computations=\{(.*?)\}", program.as_text())
        return [text.count("%") for text in found]

    one, three, soft = step(1, 1), step(3, 1), step(1, None)
    # Five programs (kernels of 3 and 5 share theirs, and the first layer's skip is a convolution) and nothing at all,
    # forward and backward, for the first layer and for all that follow it.
    assert branches(one) == branches(three) == [6] * 4
    assert branches(soft) == []
    # The largest of the nine is a third of them all; its backward pass runs it forward once more.
    assert soft.cost_analysis()["flops"] >= 2.4 * one.cost_analysis()["flops"]
