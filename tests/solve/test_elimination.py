"""Elimination against enumeration, and counts too large to enumerate."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.errors import UserError
from dnas.solve.elimination import Draws, log_total, optimum
from dnas.space.quantity import Choice, Quantity


def random_factors(seed: int) -> list[Quantity]:
    rng = np.random.default_rng(seed)
    choices = [Choice(f"c{i}", tuple(range(int(rng.integers(1, 4))))) for i in range(int(rng.integers(1, 7)))]
    factors = []
    for _ in range(int(rng.integers(1, 8))):
        picked = rng.permutation(len(choices))[: int(rng.integers(0, 4))]
        over = tuple(choices[i] for i in picked)
        table = rng.integers(-3, 4, size=tuple(len(c) for c in over)).astype(float)
        table[rng.random(table.shape) < 0.1] = -np.inf
        factors.append(Quantity(over, np.asarray(table)))
    return factors


def everything(factors: list[Quantity]):
    choices = list(dict.fromkeys(c for q in factors for c in q.over))
    for options in itertools.product(*(range(len(c)) for c in choices)):
        yield dict(zip((c.name for c in choices), options, strict=True))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_equals_enumeration(seed):
    factors = random_factors(seed)
    values = [sum(q.at(a) for q in factors) for a in everything(factors)]
    finite = [v for v in values if v > -math.inf]
    assert log_total(factors) == pytest.approx(math.log(sum(map(math.exp, finite))) if finite else -math.inf)
    if not finite:
        with pytest.raises(UserError):
            optimum(factors)
        return
    best, assignment = optimum(factors)
    assert best == max(values) == sum(q.at(assignment) for q in factors)
    assert set(assignment) == {c.name for q in factors for c in q.over}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_draws_are_even_among_what_is_allowed(seed):
    """Each within five standard deviations of its share, and none that is forbidden."""
    constraints = [Quantity(q.over, q.table > 0) for q in random_factors(seed)]
    allowed = [a for a in everything(constraints) if all(q.at(a) for q in constraints)]
    if not allowed:
        with pytest.raises(UserError, match="exclude every architecture"):
            Draws(constraints)
        return
    even, random, count = Draws(constraints), np.random.default_rng(seed), 40 * len(allowed)
    drawn = collections.Counter(tuple(sorted(even.draw(random).items())) for _ in range(min(count, 2000)))
    assert drawn.keys() <= {tuple(sorted(a.items())) for a in allowed}
    if count <= 2000:
        assert all(abs(drawn[tuple(sorted(a.items()))] - 40) < 5 * 40**0.5 for a in allowed)


def test_minimum_under_constraints():
    a, b = Choice("a", (1, 2, 3)), Choice("b", (1, 2, 3))
    cost = Quantity.of(a) + 10 * Quantity.of(b)
    unequal = Quantity.combine(lambda x, y: x != y, Quantity.of(a), Quantity.of(b))
    assert optimum([cost], "min", [unequal]) == (12.0, {"a": 1, "b": 0})


def test_ties_take_the_lowest_option():
    a, b = Choice("a", (1, 2, 3)), Choice("b", (1, 2))
    assert optimum([Quantity((a, b), np.zeros((3, 2)))]) == (0.0, {"a": 0, "b": 0})


def test_no_factors():
    assert optimum([]) == (0.0, {})
    assert log_total([]) == 0.0


def test_large_counts_are_exact():
    """A chain of 60 widths of 14 options where neighbours differ: 14 * 13^59, about 7e66."""
    chain = [Choice(f"w{i}", tuple(range(14))) for i in range(60)]
    differ = np.where(np.eye(14, dtype=bool), -np.inf, 0.0)
    factors = [Quantity((x, y), differ) for x, y in itertools.pairwise(chain)]
    assert log_total(factors) / math.log(10) == pytest.approx(math.log10(14 * 13**59), rel=0, abs=1e-11)


def test_a_knot_of_choices_is_refused():
    knot = [Choice(f"w{i}", tuple(range(10))) for i in range(8)]
    factors = [Quantity((x, y), np.zeros((10, 10))) for x, y in itertools.combinations(knot, 2)]
    with pytest.raises(UserError, match="depend on one another"):
        optimum(factors)
