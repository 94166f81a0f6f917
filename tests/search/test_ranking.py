"""The rule by which slimming chooses, by hand and by property."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dnas.search.ranking import Effect, ranked


def test_least_drop_for_the_gain_first():
    assert ranked([Effect(0.04, 0.1, 2.0), Effect(0.03, 0.1, 1.0), Effect(0.01, 0.1, 0.25)]) == [0, 1, 2]


def test_no_gain_is_no_candidate_however_accurate():
    assert ranked([Effect(-0.5, -1.0, 0.0), Effect(-0.5, -1.0, -3.0), Effect(0.9, 1.0, 1e-6)]) == [2]
    assert ranked([Effect(-0.5, -1.0, 0.0)]) == []


def test_a_network_that_is_no_worse_comes_first():
    # By drop / gain alone the third, which saves next to nothing, would win.
    effects = [Effect(0.0001, 0.0, 100.0), Effect(0.0, 0.1, 1.0), Effect(-0.01, 0.1, 0.01), Effect(-0.01, 0.1, 2.0)]
    assert ranked(effects) == [3, 2, 1, 0]


def test_ties_go_to_the_loss_then_to_the_gain_then_to_the_order():
    assert ranked([Effect(0.0, 0.3, 1.0), Effect(0.0, 0.2, 1.0)]) == [1, 0]
    assert ranked([Effect(0.0, 0.0, 1.0), Effect(0.0, 0.0, 2.0)]) == [1, 0]
    assert ranked([Effect(0.02, 0.1, 1.0), Effect(0.02, 0.1, 1.0)]) == [0, 1]
    assert ranked([Effect(0.02, 0.2, 1.0), Effect(0.04, 0.4, 2.0)]) == [1, 0]  # same price: the larger gain


def test_by_loss_the_roles_are_exchanged():
    effects = [Effect(0.01, 0.5, 1.0), Effect(0.02, 0.1, 1.0)]
    assert ranked(effects) == [0, 1] and ranked(effects, "loss") == [1, 0]


numbers = st.floats(-1, 1, allow_nan=False)


@given(st.lists(st.builds(Effect, numbers, numbers, st.floats(-1, 10))))
def test_every_gain_is_ranked_once_and_free_actions_lead(effects):
    order = ranked(effects)
    assert sorted(order) == [n for n, e in enumerate(effects) if e.gain > 0]
    paid = [effects[n].drop > 0 for n in order]
    assert paid == sorted(paid)


@given(st.lists(st.builds(Effect, numbers, numbers, st.floats(0.01, 10)), min_size=2), st.floats(0.01, 100))
def test_the_unit_of_the_cost_does_not_matter_among_actions_that_lose(effects, unit):
    effects = [Effect(abs(drop) + 0.001, rise, gain) for drop, rise, gain in effects]
    scaled = [e._replace(gain=e.gain * unit) for e in effects]
    first, other = effects[ranked(effects)[0]], effects[ranked(scaled)[0]]
    assert abs(first.drop / first.gain - other.drop / other.gain) <= 1e-9 * first.drop / first.gain
