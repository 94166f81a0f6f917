"""Costs under gates: exact at corners, exact means, gradients that are finite differences."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost import ledger
from dnas.cost.budget import parse_budget
from dnas.data import synthetic
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.nn.expected import ExpectedCosts
from dnas.nn.gates import Gates, Layout, as_mapping, one_hot, probabilities
from dnas.search.problem import make_problem
from dnas.search.settings import with_overrides
from tests.search import planted

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


# The paper's form -----------------------------------------------------------------------------------------------------

TIED = {
    "name": "tied",
    "choices": {"w": {"choices": [8, 16]}},
    "input": {"channels": 3, "classes": 4, "resolution": {"choices": [8, 16]}},
    "trunk": [
        {"conv": {"out": "$w", "kernel": {"choices": [3, 5]}, "stride": 2}},
        {"mbconv": {"out": "$w", "expand": 2, "kernel": 3}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
GATES = {"w": [0.5, 0.5], "trunk.0.kernel": [0.25, 0.75], "resolution": [0.5, 0.5]}


def both_forms(space, gates, kind="MACs"):
    """The exact mean and the product of effective sizes, each by the compiled program and by the ledger."""
    layout = Layout(space.choices)
    values = np.zeros(layout.shape, np.float32)
    for name, row in layout.rows.items():
        values[row, : len(gates[name])] = gates[name]
    cost = ledger.COSTS[kind](graph_of(space).ledger)
    compiled = [
        float(ExpectedCosts([cost], layout, by_sizes)(Gates(jnp.asarray(values), layout))[0])
        for by_sizes in (False, True)
    ]
    gates = {name: np.array(row) for name, row in gates.items()}
    assert compiled == pytest.approx([ledger.mean(cost, gates), ledger.mean_of_sizes(cost, gates)], rel=1e-6)
    return compiled


def test_the_product_of_effective_sizes_is_that_of_the_paper():
    """By hand (Wan et al. 2020, eq. 5 to 10): w = 12, 24 hidden, h = 6 after the stride, k^2 = 21 in the mean."""
    w, hidden, h, k2 = 12, 24, 6, 0.25 * 9 + 0.75 * 25
    paper = h * h * (k2 * 3 * w + w * hidden + 9 * hidden + hidden * w) + w * 4
    h2, w2 = (4**2 + 8**2) / 2, (8**2 + 16**2) / 2
    exact = h2 * (k2 * 3 * w + 2 * w2 + 9 * hidden + 2 * w2) + w * 4
    space = space_from_data(TIED, "tied")
    assert both_forms(space, GATES) == pytest.approx([exact, paper], rel=1e-6)
    assert paper < exact  # the variance of what stands twice is left out


def test_both_forms_are_one_at_corners_and_where_no_choice_decides_two_sizes():
    for assignment in itertools.product(range(2), repeat=3):
        gates = {name: np.eye(2)[n] for name, n in zip(GATES, assignment, strict=True)}
        exact, paper = both_forms(space_from_data(TIED, "tied"), gates)
        assert exact == paper
    trunk = [
        {"conv": {"out": {"choices": [4, 8, 12]}, "kernel": {"choices": [3, 5]}}},
        {"one_of": [{"conv": {"out": 8, "kernel": {"choices": [1, 3]}}}, {"conv": {"out": 8, "kernel": 5}}]},
        {"conv": {"out": {"choices": [8, 16]}}},
    ]
    apart = space_from_data(TIED | {"trunk": trunk, "input": {"channels": 3, "classes": 4, "resolution": 8}}, "apart")
    gates = {c.name: np.random.default_rng(4).dirichlet(np.ones(len(c))) for c in apart.choices}
    for kind in ledger.COSTS:
        exact, paper = both_forms(apart, gates, kind)
        assert exact == pytest.approx(paper, rel=1e-6)


def test_a_preset_says_which_form_a_search_takes():
    assert with_overrides("quick").costs == "exact" and with_overrides("paper").costs == "paper"
    dataset = synthetic.needs_large_kernel(0)
    space = planted.space({"kernel": {"choices": [3, 5]}, "out": {"range": [4, 24, 4]}}, side={"choices": [8, 16]})
    found = []
    for costs in ("exact", "paper"):
        made = make_problem(space, [parse_budget("0.1MFLOPs")], dataset, with_overrides("smoke", costs=costs), 0)
        found.append(float(made.expected(probabilities(made.layout, jnp.zeros(made.layout.shape)))[0]))
        assert float(made.measured[0].uniform) == pytest.approx(found[0], rel=1e-5)
    assert found[1] < found[0]
