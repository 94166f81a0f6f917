"""Even draws within budgets, against full enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dnas.cost import ledger
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.search.sampling import Sampler
from dnas.solve.many import Constraints, Costs, as_options
from dnas.space.quantity import Choice, Quantity

SPACE = {
    "name": "small",
    "input": {"channels": 1, "classes": 2, "resolution": 16},
    "trunk": [
        {"conv": {"out": {"range": [4, 16, 4]}, "kernel": 3}},
        {"one_of": [
            {"mbconv": {"out": 8, "kernel": {"choices": [3, 5]}, "expand": {"choices": [1, 2, 3]}}},
            {"skip": {"out": 8}},
        ]},
        {"conv": {"out": {"range": [4, 16, 4]}}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip


def everything(space):
    names = [c.name for c in space.choices]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(*(range(len(c)) for c in space.choices))]


@pytest.fixture(scope="module")
def small():
    space = space_from_data(SPACE, "small")
    return space, graph_of(space)


def test_many_costs_are_the_ledger_exactly(small):
    space, walked = small
    both = [ledger.macs(walked.ledger), ledger.params(walked.ledger)]
    assignments = everything(space)
    found = Costs(both, space.choices)(as_options(assignments, space.choices))
    assert found.tolist() == [[ledger.at(cost, a) for cost in both] for a in assignments]


def test_many_costs_of_the_main_space():
    space = load_space("fbnetv2", None)
    walked = graph_of(space)
    random = np.random.default_rng(0)
    rows = random.integers(0, [len(c) for c in space.choices], (20, len(space.choices)))
    cost = ledger.macs(walked.ledger)
    exact = [ledger.at(cost, dict(zip([c.name for c in space.choices], r.tolist(), strict=True))) for r in rows]
    assert Costs([cost], space.choices)(rows)[:, 0].tolist() == exact


def test_constraints_with_states_that_are_no_choices():
    a, b, c = (Choice(name, (0, 1)) for name in "abc")
    state = Choice("state", (0, 1, 2))
    counted = Quantity.combine(lambda x, y, s: int(x + y == s), Quantity.of(a), Quantity.of(b), Quantity.of(state))
    at_most_one = Quantity.combine(lambda s, z: int(s + z <= 1), Quantity.of(state), Quantity.of(c))
    rows = np.array(list(itertools.product((0, 1), repeat=3)))
    allowed = Constraints([counted, at_most_one], (a, b, c))(rows)
    assert allowed.tolist() == [sum(row) <= 1 for row in rows.tolist()]


@pytest.mark.parametrize(("limit", "fill"), [(150_000, 0.0), (300_000, 0.7)])
def test_draws_are_even_over_architectures(small, limit, fill):
    space, walked = small
    cost = ledger.macs(walked.ledger)
    sampler = Sampler(space, walked, [cost], [limit], fill)
    within = [a for a in everything(space) if fill * limit <= ledger.at(cost, a) <= limit]
    written = {tuple(a.values()): str(architecture(space, a).data) for a in within}
    different = set(written.values())
    assert len(different) > 10
    drawn = sampler._chains(3000, np.random.default_rng(0))
    counts = dict.fromkeys(different, 0)
    for row in drawn:
        counts[written[tuple(row.tolist())]] += 1
    expected = len(drawn) / len(different)
    chi2 = sum((n - expected) ** 2 / expected for n in counts.values())
    # Mean len - 1 and variance 2 (len - 1) under even draws: five deviations above would be a mistake.
    free = len(different) - 1
    assert chi2 < free + 5 * (2 * free) ** 0.5


def test_different_networks_within_the_budget_and_the_same_again(small):
    space, walked = small
    cost = ledger.macs(walked.ledger)
    sampler = Sampler(space, walked, [cost], [200_000], 0.8)
    drawn = sampler.draw(6, [1, 2])
    assert drawn == sampler.draw(6, [1, 2]) != sampler.draw(6, [1, 3])
    assert len({str(architecture(space, a).data) for a in drawn}) == 6
    assert all(160_000 <= ledger.at(cost, a) <= 200_000 for a in drawn)


@pytest.mark.parametrize("limit", [150_000, 250_000])
@pytest.mark.parametrize("enough", [5, 40])
def test_a_small_space_is_drawn_from_as_far_below_as_there_are_enough(small, limit, enough):
    space, walked = small
    cost = ledger.macs(walked.ledger)
    sampler = Sampler(space, walked, [cost], [limit], 0.97, enough)
    shares = {str(architecture(space, a).data): ledger.at(cost, a) / limit for a in everything(space)}
    within = sorted((share for share in shares.values() if share <= 1), reverse=True)
    if sum(share >= 0.97 for share in within) >= enough:
        assert sampler.fill == 0.97 and not sampler.note
        return
    assert sampler.fill == pytest.approx(within[min(enough, len(within)) - 1])
    have = sum(share >= 0.97 for share in within)
    assert (f"{have} networks of the space use 97%" if have else "uses") in sampler.note
    drawn = sampler.draw(5, [0])
    assert len(drawn) > 2 and sampler.within(as_options(drawn, space.choices)).all()


def test_a_budget_that_nothing_fills_is_drawn_below_and_said(small):
    space, walked = small
    sampler = Sampler(space, walked, [ledger.macs(walked.ledger)], [1e9], 0.97)
    assert "even the largest" in sampler.note and len(sampler.draw(3, [0])) == 3


def test_draws_from_a_list_are_even_too(small):
    space, walked = small
    sampler = Sampler(space, walked, [ledger.macs(walked.ledger)], [150_000], 0.0)
    assert sampler.listed is not None
    counts = np.zeros(len(sampler.listed))
    names = {tuple(row.tolist()): n for n, row in enumerate(sampler.listed)}
    for n in range(600):
        for network in sampler.draw(3, [0, n]):
            counts[names[tuple(network.values())]] += 1
    expected, free = counts.mean(), len(counts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < free + 5 * (2 * free) ** 0.5


def test_all_of_a_thin_band_are_drawn(small):
    """Chains that redraw a few choices at a time do not get from one to the other of these."""
    space, walked = small
    cost = ledger.macs(walked.ledger)
    sampler = Sampler(space, walked, [cost], [250_000], 0.97)
    within = [a for a in everything(space) if 0.97 * 250_000 <= ledger.at(cost, a) <= 250_000]
    different = {str(architecture(space, a).data) for a in within}
    drawn = [str(architecture(space, a).data) for a in sampler.draw(1000, [0])]
    assert set(drawn) == different and len(drawn) == len(different) > 0


@pytest.mark.parametrize("fill", [0.0, 0.97])
def test_without_budgets_all_networks_are_drawn_from(small, fill):
    space, walked = small
    sampler = Sampler(space, walked, [], [], fill, enough=10)
    assert len(sampler.draw(1000, [0])) == len({str(architecture(space, a).data) for a in everything(space)})
