"""Costs under gates: exact at corners, exact means, gradients that are finite differences."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import pytest

from dnas.cost import ledger
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.nn.expected import ExpectedCosts
from dnas.nn.gates import Layout, as_mapping, one_hot, probabilities

SMALL = {
    "name": "small",
    "input": {"channels": 3, "classes": 4, "resolution": {"choices": [8, 12]}},
    "trunk": [
        {"conv": {"out": {"choices": [4, 8]}, "kernel": {"choices": [3, 5]}, "stride": 2}},
        {
            "one_of": [
                {"mbconv": {"out": 8, "expand": {"choices": [1, 2]}, "se": {"choices": [False, True]}}},
                {"skip": {"out": 8}},
            ]
        },
        {"mbconv": {"out": 8, "act": {"choices": ["relu", "hswish"]}, "repeat": {"range": [1, 2, 1]}}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


FORMERS = ("efficientformer_tiny", "efficientformerv2_tiny", "efficientformer", "efficientformerv2")


@functools.cache
def known(name: str):
    space = space_from_data(SMALL, "small") if name == "small" else load_space(name)
    walked = graph_of(space)
    return space, {kind: cost(walked.ledger) for kind, cost in ledger.COSTS.items()}


def corners(name: str):
    space, _ = known(name)
    if name == "small":
        for indices in itertools.product(*(range(len(c)) for c in space.choices)):
            yield {c.name: i for c, i in zip(space.choices, indices, strict=True)}
        return
    rng = np.random.default_rng(0)
    for _ in range(30 if name in FORMERS else 200):
        yield {c.name: int(rng.integers(len(c))) for c in space.choices}


@pytest.mark.parametrize("name", ["small", "fbnetv2", *FORMERS])
def test_one_hot_corners_are_the_integer_count_of_the_exported_network(name):
    space, costs = known(name)
    for assignment in corners(name):
        gates = {c.name: np.eye(len(c))[assignment[c.name]] for c in space.choices}
        exported = graph_of(architecture(space, assignment).network).ledger
        for kind, cost in costs.items():
            count = ledger.at(ledger.COSTS[kind](exported), {})
            assert isinstance(count, int)
            assert ledger.mean(cost, gates) == count == ledger.at(cost, assignment)


@pytest.mark.parametrize("name", ["small", "tiny", "fbnetv2", *FORMERS[2:]])
def test_float32_program_agrees_to_a_millionth(name):
    space, costs = known(name)
    layout = Layout(space.choices)
    program = jax.jit(ExpectedCosts(list(costs.values()), layout))
    theta = np.random.default_rng(1).normal(0, 2, layout.shape).astype(np.float32)
    soft = probabilities(layout, jax.numpy.asarray(theta))
    hard = one_hot(layout, next(iter(corners(name))))
    for gates in (soft, hard):
        exact = [ledger.mean(cost, as_mapping(gates)) for cost in costs.values()]
        np.testing.assert_allclose(program(gates), exact, rtol=2e-6)


@pytest.mark.parametrize("name", ["fbnetv2", *FORMERS[2:]])
def test_mean_is_that_of_sampled_networks(name):
    space, costs = known(name)
    rng = np.random.default_rng(2)
    p = {c.name: rng.dirichlet(np.ones(len(c))) for c in space.choices}
    drawn = {c.name: rng.choice(len(c), 100_000, p=p[c.name]) for c in space.choices}
    for cost in costs.values():
        total = np.zeros(100_000)
        for product in cost:
            value = np.ones(100_000)
            for factor in product.factors:
                value = value * factor.table[tuple(drawn[c.name] for c in factor.over)]
            total += value
        assert total.mean() == pytest.approx(ledger.mean(cost, p), rel=0.005)


@pytest.mark.parametrize("name", ["small", "tiny", "fbnetv2", *FORMERS])
@pytest.mark.parametrize("kind", ["MACs", "params"])
def test_gradient_is_finite_differences_and_zero_only_where_options_cost_the_same(name, kind):
    space, costs = known(name)
    cost = costs[kind]
    rng = np.random.default_rng(3)
    p = {c.name: rng.dirichlet(np.ones(len(c))) for c in space.choices}
    layout = Layout(space.choices)
    values = np.zeros(layout.shape, np.float32)
    for row, c in enumerate(space.choices):
        values[row, : len(c)] = p[c.name]
    from dnas.nn.gates import Gates

    program = ExpectedCosts([cost], layout)
    gradient = np.asarray(jax.grad(lambda v: program(Gates(v, layout))[0])(jax.numpy.asarray(values)))
    scale = ledger.mean(cost, p)
    for row, c in enumerate(space.choices):
        differences = []
        for option in range(len(c)):
            moved = {sign: p | {c.name: p[c.name] + sign * 0.01 * np.eye(len(c))[option]} for sign in (-1, 1)}
            differences.append((ledger.mean(cost, moved[1]) - ledger.mean(cost, moved[-1])) / 0.02)
        np.testing.assert_allclose(gradient[row, : len(c)], differences, atol=2e-5 * scale)
        # What theta feels is the difference between options.
        felt = np.ptp(differences) > 1e-9 * scale
        differ = any(
            np.ptp(factor.table, axis=factor.over.index(c)).any() for product in cost for factor in product.factors
            if c in factor.over
        )  # fmt: skip
        assert felt == differ, c.name


def test_costs_that_do_not_feel_a_choice():
    space, costs = known("fbnetv2")
    uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
    for name, kind in (("trunk.2.act", "MACs"), ("resolution", "params")):
        size = len(uniform[name])
        at = [ledger.mean(costs[kind], uniform | {name: np.eye(size)[n]}) for n in range(size)]
        assert max(at) == pytest.approx(min(at), rel=1e-12)
