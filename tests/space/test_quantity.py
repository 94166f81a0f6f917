"""Quantities: exact at one-hot gates, exact means under independent gates, and nothing changed by simplifying."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.errors import UserError
from dnas.space.quantity import Choice, Product, Quantity, indicator, select, where

CHOICES = [Choice("a", (1, 2, 3)), Choice("b", (False, True)), Choice("c", (16, 24)), Choice("d", ("relu",))]


@st.composite
def quantities(draw):
    over = draw(st.lists(st.sampled_from(CHOICES), unique=True, max_size=3))
    shape = tuple(len(c) for c in over)
    # Few different values, so that axes on which nothing depends do occur.
    values = draw(st.lists(st.integers(0, 3), min_size=math.prod(shape), max_size=math.prod(shape)))
    return Quantity(tuple(over), np.array(values, dtype=np.int64).reshape(shape))


@st.composite
def gates(draw):
    result = {}
    for choice in CHOICES:
        weights = np.array(
            draw(st.lists(st.integers(1, 9), min_size=len(choice), max_size=len(choice))), dtype=np.float64
        )
        result[choice.name] = weights / weights.sum()
    return result


def assignments():
    for indices in itertools.product(*(range(len(c)) for c in CHOICES)):
        yield dict(zip((c.name for c in CHOICES), indices, strict=True))


def expectation(function, gates):
    """The mean by enumeration."""
    return sum(math.prod(gates[n][i] for n, i in a.items()) * function(a) for a in assignments())


@given(quantities())
def test_mean_at_one_hot_gates_is_the_exact_value(quantity):
    for assignment in assignments():
        one_hot = {c.name: np.eye(len(c))[assignment[c.name]] for c in CHOICES}
        assert quantity.mean(one_hot) == quantity.at(assignment)


@given(quantities(), gates())
def test_mean_is_the_expectation(quantity, gates):
    assert quantity.mean(gates) == pytest.approx(expectation(quantity.at, gates), rel=1e-12)


@settings(deadline=None)
@given(st.lists(quantities(), min_size=1, max_size=4), gates())
def test_product_mean_is_the_expectation_of_the_product(parts, gates):
    """Multilinear also where the parts share choices: never a product of means of dependent parts."""
    product = Product(*parts)
    expected = expectation(lambda a: math.prod(q.at(a) for q in parts), gates)
    assert product.mean(gates) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert product.joint().mean(gates) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for assignment in itertools.islice(assignments(), 4):
        assert product.at(assignment) == math.prod(q.at(assignment) for q in parts)
    overs = [set(f.over) for f in product.factors]
    assert all(not (x & y) for x, y in itertools.combinations(overs, 2))


@given(quantities())
def test_simplify_changes_no_value_and_leaves_no_idle_choice(quantity):
    simple = quantity.simplify()
    assert all(simple.at(a) == quantity.at(a) for a in assignments())
    for axis in range(simple.table.ndim):
        assert not np.all(simple.table == simple.table.take([0], axis=axis))
    assert simple.same_as(quantity.simplify())


@given(quantities(), quantities())
def test_arithmetic_and_order_of_choices(x, y):
    for assignment in assignments():
        a, b = x.at(assignment), y.at(assignment)
        assert (x + y).at(assignment) == a + b == (y + x).at(assignment)
        assert (x * y).at(assignment) == a * b
        assert (x - y).at(assignment) == a - b
        assert (x // (y + 1)).at(assignment) == a // (b + 1)
        assert x.equals(y).at(assignment) == int(a == b)
        assert where(x, y, x).at(assignment) == (b if a else a)


@given(quantities(), st.sampled_from(CHOICES))
def test_fix_decides_one_choice(quantity, choice):
    for index in range(len(choice)):
        fixed = quantity.fix({choice.name: index})
        assert choice not in fixed.over
        assert all(fixed.at(a) == quantity.at(a) for a in assignments() if a[choice.name] == index)


def test_values_are_python_values():
    for value, kind in ((3, int), (2.5, float), (True, bool), ("relu", str)):
        assert type(Quantity.constant(value).value) is kind
    assert type(Quantity.of(CHOICES[0]).at({"a": 1})) is int
    assert Quantity.of(CHOICES[1]).at({"b": 1}) is True
    mixed = Quantity.combine(lambda a, b: a if b else "none", Quantity.of(CHOICES[0]), Quantity.of(CHOICES[1]))
    assert mixed.values() == ["none", 1, 2, 3]


def test_select_and_indicator():
    a = CHOICES[0]
    picked = select(a, [Quantity.constant(5), Quantity.of(CHOICES[2]), Quantity.constant(7)])
    assert [picked.at({"a": i, "c": 1}) for i in range(3)] == [5, 24, 7]
    assert indicator(a, lambda i: i == 2).table.tolist() == [0, 0, 1]


def test_constants():
    two = Quantity.constant(2)
    assert (two + 1).value == 3 and (3 - two).value == 1 and (two * 2.5).value == 5.0 and two.is_constant
    assert type((two * 3).value) is int
    with pytest.raises(ValueError, match="depends on"):
        _ = Quantity.of(CHOICES[0]).value


def test_too_large_a_joint_table_is_refused():
    wide = [Quantity.of(Choice(f"w{i}", tuple(range(500)))) for i in range(3)]
    with pytest.raises(UserError, match="125,000,000 combinations of w0, w1, w2"):
        _ = wide[0] * wide[1] + wide[2]


def test_product_of_effective_sizes_is_biased_where_a_choice_repeats():
    width, gate = Quantity.of(Choice("w", (2, 4))), {"w": np.array([0.5, 0.5])}
    assert Product(width, width).mean(gate) == 10.0
    assert Product(width, width).mean_of_sizes(gate) == 9.0


def test_whole_numbers_that_64_bits_do_not_hold_are_refused():
    """A wide network on large images, both by one choice, had a negative number of multiply-adds."""
    side = Quantity.of(Choice("side", (4095, 4096)))
    weights = 961 * (200 * side) * (200 * side)
    for too_large in (lambda: weights * (side * side), lambda: Quantity.constant(1 << 40) * (1 << 40)):
        with pytest.raises(UserError, match="too large to be counted"):
            too_large()
    assert (
        Product(weights, Quantity.of(Choice("other", (4096, 1)))).at({"side": 1, "other": 0}) == 961 * 819200**2 * 4096
    )
