"""The constrained search against enumeration on small random chains."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.errors import UserError
from dnas.solve import branches, labels
from dnas.solve.constrained import feasible_together, most_probable, smallest
from dnas.space.quantity import Choice, Product, Quantity

RES = Choice("resolution", (2, 3, 5))
DEPTH = Choice("depth", (1, 2, 3))


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x - x.max()).sum()) - x.max()


def small_space(seed: int, budgets: int):
    """A chain of blocks (width, kernel, skip), with a resolution or a prefix depth at times, and random costs."""
    rng = np.random.default_rng(seed)
    scale = float(rng.choice([0.0, 0.3, 3.0, 30.0]))
    res = Quantity.of(RES) if rng.random() < 0.6 else Quantity.constant(2)
    deep = rng.random() < 0.4
    scores, constraints, costs = [], [], [[] for _ in range(budgets)]

    def logits(n: int) -> np.ndarray:
        return log_softmax(np.round(rng.normal(size=n) * scale, int(rng.integers(0, 3))))

    scores += [Quantity((c,), logits(3)) for c in res.over + ((DEPTH,) if deep else ())]
    before = Quantity.constant(3)
    for b in range(3):
        width = Choice(f"b{b}.width", (2, 3, 5)[: int(rng.integers(1, 4))])
        kernel, skip = Choice(f"b{b}.kernel", (1, 2)), Choice(f"b{b}.skip", (False, True))
        live = Quantity((skip,), np.array([1, 0]))
        if deep:
            live = live * Quantity((DEPTH,), np.array([int(b < d) for d in DEPTH.options]))
        relevant = np.where(live.table[..., None] != 0, logits(2), np.array([0.0, -np.inf]))
        scores += [Quantity((*live.over, kernel), relevant)]
        scores += [Quantity((skip,), logits(2)), Quantity((width,), logits(len(width)))]
        out = Quantity.of(width)
        for j in range(budgets):
            odd = Quantity((kernel,), rng.integers(1, 4, size=2))
            size = res * res if j == 0 else Quantity.constant(1)
            costs[j] += [Product(size, before, out, live), Product(odd, out, live), Product(int(rng.integers(0, 3)))]
            if j == 2:
                over = (*before.over, width)
                table = rng.random(tuple(len(c) for c in over)) * 3
                costs[j] += [Product(Quantity(over, table), live)]
        if rng.random() < 0.3:
            constraints.append(Quantity.combine(lambda a, c: a <= c + 1, before, out))
        before = out
    return scores, [tuple(c) for c in costs], constraints


def brute_force(scores, costs, constraints):
    """(score, costs) of every allowed assignment."""
    terms = [*scores, *constraints, *(p for cost in costs for p in cost)]
    choices = list(dict.fromkeys(c for t in terms for c in t.over))
    rows = []
    for options in itertools.product(*(range(len(c)) for c in choices)):
        a = dict(zip((c.name for c in choices), options, strict=True))
        score = math.fsum(q.at(a) for q in scores)
        if score > -math.inf and all(q.at(a) for q in constraints):
            rows.append((score, tuple(sum(p.at(a) for p in cost) for cost in costs)))
    return rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 0.8, 0.97]))
def test_equals_enumeration(seed, budgets, fill):
    scores, costs, constraints = small_space(seed, budgets)
    rows = brute_force(scores, costs, constraints)
    rng = np.random.default_rng(seed + 1)
    cost_table = np.array([c for _, c in rows])
    caps = [
        float(np.quantile(cost_table[:, j], rng.uniform(0.0, 1.0)) * rng.choice([1, 1, 1, 1.5])) for j in range(budgets)
    ]
    caps = [float(int(c)) if j < 2 else c for j, c in enumerate(caps)]
    inside = [(s, c) for s, c in rows if all(x <= b for x, b in zip(c, caps, strict=True))]
    together = feasible_together(costs, caps, constraints)
    if not inside:
        with pytest.raises(UserError):
            most_probable(scores, costs, caps, fill=fill, constraints=constraints)
        return
    assert together is not None

    def use(c):
        return max((x / b if b > 0 else math.inf) for x, b in zip(c, caps, strict=True))

    filled = [s for s, c in inside if fill == 0 or any(x >= fill * b for x, b in zip(c, caps, strict=True))]
    got = most_probable(scores, costs, caps, fill=fill, constraints=constraints)
    assert got.gap == 0.0
    assert got.upper_bound == got.score
    assert got.costs == tuple(sum(p.at(got.assignment) for p in cost) for cost in costs)
    assert all(x <= b for x, b in zip(got.costs, caps, strict=True))
    assert got.filled == bool(filled)
    if filled:
        assert got.score == pytest.approx(max(filled), abs=1e-7)
        assert not got.note
        assert fill == 0 or use(got.costs) >= fill
    else:
        most = max(use(c) for _, c in inside)
        assert use(got.costs) == pytest.approx(most, rel=1e-12)
        largest = max(use(c) for _, c in rows) < fill
        assert ("largest network" in got.note) == largest


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 0.97]))
def test_a_beam_too_small_is_confessed(seed, budgets, fill):
    """With two labels a stage the answer may be poor; its bound still holds."""
    scores, costs, constraints = small_space(seed, budgets)
    rows = brute_force(scores, costs, constraints)
    caps = [int(np.quantile([c[j] for _, c in rows], 0.6)) for j in range(budgets)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branches, "BEAMS", (2,))
        patch.setattr(labels, "EXPANSIONS", 2)
        try:
            got = most_probable(scores, costs, caps, fill=fill, constraints=constraints)
        except UserError:
            return
    inside = [(s, c) for s, c in rows if all(x <= b for x, b in zip(c, caps, strict=True))]
    if got.filled:
        inside = [(s, c) for s, c in inside if any(x >= fill * b for x, b in zip(c, caps, strict=True))]
        assert got.upper_bound >= max(s for s, _ in inside) - 1e-7
        assert got.score <= max(s for s, _ in inside) + 1e-7
    assert got.gap == got.upper_bound - got.score >= 0


def test_every_assignment_is_complete_and_repeatable():
    scores, costs, constraints = small_space(5, 3)
    caps = [100, 60, 60.0]
    first = most_probable(scores, costs, caps, constraints=constraints)
    again = most_probable(scores, costs, caps, constraints=constraints)
    assert first == again
    assert set(first.assignment) == {c.name for q in (*scores, *constraints) for c in q.over}


def two_choices():
    a, b = Choice("a", (1, 10)), Choice("b", (1, 10))
    scores = [Quantity((c,), np.log([0.5, 0.5])) for c in (a, b)]
    same = Quantity.combine(lambda x, y: int(x != y), Quantity.of(a), Quantity.of(b))
    return scores, (Product(Quantity.of(a)),), (Product(Quantity.of(b)),), same


def test_a_budget_below_the_smallest_names_it():
    scores, cost_a, cost_b, _ = two_choices()
    assert smallest(cost_a) == (1, {"a": 0})
    with pytest.raises(UserError, match="smallest reachable cost is 1"):
        most_probable(scores, [cost_a, cost_b], [0.5, 20])


def test_budgets_that_exclude_each_other():
    scores, cost_a, cost_b, unequal = two_choices()
    assert feasible_together([cost_a, cost_b], [5, 5], [unequal]) is None
    with pytest.raises(UserError, match="together"):
        most_probable(scores, [cost_a, cost_b], [5, 5], constraints=[unequal])
    assert feasible_together([cost_a, cost_b], [5, 10], [unequal]) == {"a": 0, "b": 1}


def test_the_largest_network_where_the_budget_is_loose():
    scores, cost_a, _, _ = two_choices()
    got = most_probable(scores, [cost_a], [100])
    assert (got.assignment["a"], got.filled) == (1, False)
    assert "largest network" in got.note


def test_coarse_costs_leave_the_interval_empty():
    scores, cost_a, _, _ = two_choices()
    got = most_probable(scores, [cost_a], [5])
    assert (got.assignment["a"], got.filled) == (0, False)
    assert "no network uses between" in got.note


def test_integer_costs_compare_exactly():
    """A cost one unit beyond a budget of 10^12 is refused."""
    a = Choice("a", (0, 1))
    scores, cost = [Quantity((a,), np.array([-5.0, 0.0]))], (Product(Quantity.of(a)), Product(10**12))
    assert most_probable(scores, [cost], [10**12]).assignment == {"a": 0}
    assert most_probable(scores, [cost], [10**12 + 1]).assignment == {"a": 1}
