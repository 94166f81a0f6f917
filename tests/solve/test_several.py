"""The K most probable architectures against enumeration on small random chains."""

import itertools
import math

import numpy as np
import pytest

from dnas.errors import UserError
from dnas.solve.constrained import most_probable
from dnas.solve.model import total
from dnas.solve.several import most_probable_several
from dnas.space.quantity import Choice, Product, Quantity, union
from tests.solve.test_constrained import small_space


def enumerated(scores, costs, limits, constraints):
    """Scores of all architectures within the limits, best first."""
    choices = union([*scores, *constraints, *(f for cost in costs for p in cost for f in p.factors)])
    found = []
    for options in itertools.product(*(range(len(c)) for c in choices)):
        assignment = dict(zip((c.name for c in choices), options, strict=True))
        score = math.fsum(q.at(assignment) for q in scores)
        within = all(total(cost, assignment) <= limit for cost, limit in zip(costs, limits, strict=True))
        if score > -math.inf and within and all(q.at(assignment) for q in constraints):
            found.append(score)
    return sorted(found, reverse=True)


@pytest.mark.parametrize("seed", range(30))
def test_the_best_few_are_those_of_an_enumeration(seed):
    budgets = 1 + seed % 2
    scores, costs, constraints = small_space(seed, budgets)
    middle = [float(np.median(_some_costs(scores, cost, constraints, seed))) for cost in costs]
    wanted = enumerated(scores, costs, middle, constraints)
    if not wanted:
        with pytest.raises(UserError):
            most_probable_several(scores, costs, middle, 12, constraints=constraints)
        return
    found = most_probable_several(scores, costs, middle, 12, constraints=constraints)
    assert [s.score for s in found] == pytest.approx(wanted[:12], abs=1e-8)
    assert len({tuple(sorted(s.assignment.items())) for s in found}) == len(found)
    assert all(c <= b for s in found for c, b in zip(s.costs, middle, strict=True))
    assert all(q.at(s.assignment) for s in found for q in constraints)
    assert found[0].score == pytest.approx(most_probable(scores, costs, middle, fill=0, constraints=constraints).score)


def _some_costs(scores, cost, constraints, seed):
    rng = np.random.default_rng(seed)
    choices = union([*scores, *constraints, *(f for p in cost for f in p.factors)])
    return [total(cost, {c.name: int(rng.integers(len(c))) for c in choices}) for _ in range(50)]


def test_fewer_where_the_space_has_fewer():
    a, b = Choice("a", (1, 2)), Choice("b", (1, 2, 3))
    scores = [Quantity((a,), np.log([0.4, 0.6])), Quantity((b,), np.log([0.5, 0.3, 0.2]))]
    cost = (Product(Quantity.of(a), Quantity.of(b)),)
    found = most_probable_several(scores, [cost], [2], 10)
    assert [(s.assignment["a"], s.assignment["b"]) for s in found] == [(1, 0), (0, 0), (0, 1)]
