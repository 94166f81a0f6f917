"""The last words on a search, and what a chain does to use its budgets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.grammar.catalogue import load_space
from dnas.learning import chance
from dnas.nn.gates import init_theta
from dnas.search import verdict
from dnas.search.actions import Actions, extreme
from dnas.search.assess import accuracy, counted_images
from dnas.search.decided import derived
from dnas.search.filling import candidates, near, worse_than
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import with_overrides
from dnas.search.strategy import Outcome


@pytest.fixture(scope="module")
def problem():
    """`(budgets) -> Problem` of the space tiny."""
    dataset = load(None)

    def made(*budgets: str, **settings) -> Problem:
        parsed = [parse_budget(b) for b in budgets]
        return make_problem(load_space("tiny"), parsed, dataset, with_overrides("smoke", **settings), 0)

    return made


def outcome(problem: Problem, assignment: dict[str, int], accuracy: float = 0.5, **more) -> Outcome:
    costs = tuple(m.at(assignment) for m in problem.measured)
    return Outcome(assignment, costs, {}, {"derived": 0.4, "settled": accuracy}, 200, **more)


def test_the_share_used_is_said_and_below_enough_the_reason(problem):
    tight = problem("150kFLOPs")
    least = outcome(tight, extreme(tight, "min"), unused="nothing else was as accurate")
    assert verdict.used(tight, least).endswith("of 150kFLOPs (nothing else was as accurate)")
    wide = problem("9MFLOPs")
    assert "the largest network of the space has" in verdict.used(wide, outcome(wide, extreme(wide, "max")))
    asked = problem("150kFLOPs", fill=0.0)
    assert "--fill 0 asks for no more" in verdict.used(asked, outcome(asked, extreme(asked, "min")))


def test_a_floor_that_no_network_reaches_is_the_reason(problem):
    """Whatever else the outcome says of itself: no more was to be had."""
    asked = problem("150kFLOPs", fill=1.0)
    found = derived(asked, init_theta(asked.layout))
    assert not found.filled and f"the most that one uses is {max(found.costs) / 150_000:.1%}" in found.note
    least = outcome(asked, extreme(asked, "min"), unused="the race's winner uses no more", derivation=found)
    assert verdict.used(asked, least).endswith(f"({found.note})")


def test_a_budget_that_another_one_leaves_no_room_for_says_so(problem):
    both = problem("150kFLOPs", "12kparams")
    costs = (149_000.0, 6_000.0)
    said = verdict.used(both, dataclasses.replace(outcome(both, extreme(both, "min")), costs=costs))
    assert said == "used: 99.3 % of 150kFLOPs; 50.0 % of 12kparams (150kFLOPs leaves no room for more)"


def test_accuracies_and_chance_are_of_images_spread_over_all_classes(problem):
    given = problem("150kFLOPs", check_images=20)
    labels = np.repeat(np.arange(10, dtype=np.int32), len(given.dataset.test_labels) // 10)  # as folders list them
    data = dataclasses.replace(given.dataset, test_labels=labels, test_images=given.dataset.test_images[: len(labels)])
    given = dataclasses.replace(given, dataset=data)
    counted, classes = [], labels[counted_images(given)]

    def program(variables, gates, images, labels, switch):
        counted.extend(np.asarray(labels)[np.asarray(labels) >= 0].tolist())
        return None, 0

    assert accuracy(program, given, {}, None) == (0.0, 20)  # pyright: ignore[reportArgumentType]
    assert np.bincount(classes).tolist() == np.bincount(counted).tolist() == [2] * 10
    assert verdict.level(given) == 0.1


def test_every_strategy_without_a_reason_of_its_own_still_says_one(problem):
    tight = problem("150kFLOPs")
    assert verdict.unused_because(tight, outcome(tight, extreme(tight, "min")), 0)


@pytest.mark.parametrize("accuracy, warned", [(0.10, True), (0.14, True), (0.30, False)])
def test_an_accuracy_at_chance_is_warned_of(problem, accuracy, warned):
    """Searches at chance level read like successes."""
    made = problem("150kFLOPs")
    found = outcome(made, extreme(made, "min"), accuracy)
    assert any("at chance" in w for w in verdict.warnings(made, found)) == warned


def test_chance_is_the_share_of_the_most_frequent_class():
    assert chance.chance_level(np.array([0, 0, 0, 1]), 2) == 0.75
    assert chance.chance_level(np.array([0, 1, 2, 3]), 10) == 0.25
    assert chance.at_chance(0.78, 100, 0.75) and not chance.at_chance(0.9, 100, 0.75)


def test_random_networks_are_compared_where_there_are_some(problem):
    assert "not compared" in verdict._against_random({})
    drawn = verdict.random_networks([0.2, 0.3, 0.25])
    assert drawn == {"count": 3, "median": 0.25, "best": 0.3}
    assert "40.0 % against 30.0 %, the best of 3" in verdict._against_random(
        {"random_networks": drawn, "share_accuracy": 0.4}
    )


def stuck(made: Problem) -> dict[str, int]:
    """A network within the budgets to which no single action comes back, with less than `fill` of them used."""
    actions, random = Actions(made), np.random.default_rng(0)
    for _ in range(5000):
        state = {c.name: int(random.integers(len(c))) for c in made.space.choices}
        costs = actions.cost_of(state)
        if not actions.excess(costs) and max(np.array(costs) / actions.limits) < 0.97 and not actions.back(state):
            return state
    raise AssertionError("none met")


@pytest.mark.parametrize("budgets", [("150kFLOPs",), ("100kFLOPs",), ("200kFLOPs", "9kparams")])
def test_exchanges_use_what_single_actions_cannot(problem, budgets):
    """Chains ended at 86 to 95 % of their budgets, without a word."""
    made = problem(*budgets)
    actions, state = Actions(made), stuck(problem(*budgets))
    offered = candidates(made, actions, state)
    assert offered.networks and offered.exchanged
    for network in offered.networks:
        assert not actions.excess(network.costs) and network.costs == actions.cost_of(network.assignment)
        assert max(np.array(network.costs) / actions.limits) > max(np.array(actions.cost_of(state)) / actions.limits)
        moved = {n for n in state if state[n] != network.assignment[n]}
        assert moved == {a.choice for a in network.actions}
    assert max(max(np.array(n.costs) / actions.limits) for n in offered.networks) >= 0.97


def test_states_of_constraints_are_no_moves():
    """The solver names them beside the choices."""
    budgets = [parse_budget("1.2MFLOPs")]
    space = load_space("efficientformerv2_tiny")
    made = make_problem(space, budgets, load(None), with_overrides("smoke"), 0)
    state = extreme(made, "min")
    assert set(near(made, state, 0.97)[0]) == {c.name for c in space.choices}


def test_a_network_that_is_measurably_worse_is_not_taken(problem):
    made = problem("150kFLOPs")
    chain = [{"accuracy": 0.9, "shares": [1.4]}, {"accuracy": 0.6, "shares": [0.9]}]
    assert worse_than(made, chain, 0.59) == ""
    assert "less accurate, 40.0 % at best against 60.0 %" in worse_than(made, chain, 0.4)
