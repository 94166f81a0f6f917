"""Derivation against a count of every network of a small space."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from dnas.cost import ledger
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.solve.derive import derive

SPACE = {
    "name": "small",
    "input": {"channels": 3, "classes": 4, "resolution": {"choices": [8, 12]}},
    "choices": {"w": {"choices": [8, 16]}},
    "trunk": [
        {"conv": {"out": 8, "kernel": 3, "stride": 2}},
        {
            "one_of": [
                {"mbconv": {"out": "$w", "expand": {"choices": [1, 2]}, "se": {"choices": [False, True]}}},
                {"skip": {"out": "$w"}},
            ]
        },
        {"mbconv": {"out": "$w", "kernel": {"choices": [3, 5]}, "repeat": {"range": [1, 2, 1]}}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


@pytest.fixture(scope="module")
def everything():
    """The space, its ledger, and each distinct network with the assignments that spell it."""
    space = space_from_data(SPACE, "small")
    walked = graph_of(space)
    networks: dict[str, list[dict[str, int]]] = {}
    for indices in itertools.product(*(range(len(c)) for c in space.choices)):
        assignment = dict(zip((c.name for c in space.choices), indices, strict=True))
        networks.setdefault(json.dumps(architecture(space, assignment).data), []).append(assignment)
    return space, walked, networks


def brute_force(space, networks, theta, costs, limits, fill):
    """(log-probability, costs) of the best network, over all of them."""
    p = {name: np.exp(v) / np.exp(v).sum() for name, v in theta.items()}
    candidates = []
    for spellings in networks.values():
        found = [ledger.at(c, spellings[0]) for c in costs]
        mass = sum(np.prod([p[c.name][a[c.name]] for c in space.choices]) for a in spellings)
        if all(f <= b for f, b in zip(found, limits, strict=True)):
            candidates.append((float(np.log(mass)), found))
    filled = [c for c in candidates if any(f >= fill * b for f, b in zip(c[1], limits, strict=True))]
    return max(filled or candidates, default=None, key=lambda c: c[0]), bool(filled)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("budgets", [1, 2, 3])
def test_equals_brute_force(everything, seed, budgets):
    space, walked, networks = everything
    rng = np.random.default_rng([seed, budgets])
    theta = {c.name: rng.normal(0, [0.3, 3.0][seed % 2], len(c)) for c in space.choices}
    macs, params = ledger.macs(walked.ledger), ledger.params(walked.ledger)
    costs = [macs, params, [*macs[: len(macs) // 2], *params]][:budgets]
    ranges = [sorted(ledger.at(c, s[0]) for s in networks.values()) for c in costs]
    limits = [float(values[int(len(values) * rng.uniform(0.3, 0.95))]) for values in ranges]
    best, filled = brute_force(space, networks, theta, costs, limits, 0.97)
    if best is None:
        pytest.skip("no network within these budgets")
    found = derive(space, walked, theta, costs, limits)
    assert found.filled == filled
    assert all(c <= b for c, b in zip(found.costs, limits, strict=True))
    if filled:
        assert found.gap == 0
        assert found.log_probability == pytest.approx(best[0], abs=1e-9)


def test_without_budgets_it_is_the_most_probable_network(everything):
    space, walked, networks = everything
    rng = np.random.default_rng(5)
    theta = {c.name: rng.normal(size=len(c)) for c in space.choices}
    best, _ = brute_force(space, networks, theta, [], [], 0)
    found = derive(space, walked, theta, [], [])
    assert found.log_probability == pytest.approx(best[0], abs=1e-9)
    assert found.argmax_log_probability == found.log_probability


def test_costs_are_those_of_the_exported_network(everything):
    space, walked, _ = everything
    theta = {c.name: np.zeros(len(c)) for c in space.choices}
    macs = ledger.macs(walked.ledger)
    found = derive(space, walked, theta, [macs], [60_000.0])
    network = graph_of(architecture(space, found.assignment).network)
    assert found.costs == (ledger.at(ledger.macs(network.ledger), {}),)
