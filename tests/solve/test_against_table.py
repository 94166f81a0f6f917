"""Against an exact dynamic programme over integer costs: chains too long to enumerate, where the beam is full."""

import numpy as np
import pytest

from dnas.solve.constrained import feasible_together, most_probable
from dnas.space.quantity import Choice, Product, Quantity

BLOCKS, WIDTHS, KERNELS, TOP = 12, 5, 4, 25


def random_chain(seed: int, budgets: int):
    """(scores, costs, and both as tables [before, after, kernel] of each block)."""
    rng = np.random.default_rng(seed)
    scores, costs, tables = [], [[] for _ in range(budgets)], []
    before: tuple[Choice, ...] = ()
    for b in range(BLOCKS):
        width = Choice(f"w{b}", tuple(range(WIDTHS)))
        kernel = Choice(f"k{b}", tuple(range(KERNELS)))
        over = (*before, width, kernel)
        shape = tuple(len(c) for c in over)
        score = np.round(rng.normal(size=shape) * 2, 1 if seed % 2 else 6)
        spent = rng.integers(0, TOP, size=(budgets, *shape)) + 5 * np.arange(WIDTHS)[:, None]
        scores.append(Quantity(over, score))
        for j in range(budgets):
            costs[j].append(Product(Quantity(over, spent[j])))
        tables.append((score.reshape(-1, WIDTHS, KERNELS), spent.reshape(budgets, -1, WIDTHS, KERNELS)))
        before = (width,)
    return scores, [tuple(c) for c in costs], tables


def best_by_cost(tables, caps) -> np.ndarray:
    """Best score for each exact cost up to the caps."""
    value = np.full((1, *(c + 1 for c in caps)), -np.inf)
    value[(0,) * value.ndim] = 0.0
    for score, spent in tables:
        fresh = np.full((WIDTHS, *value.shape[1:]), -np.inf)
        for a, w, k in np.ndindex(score.shape):
            step = spent[:, a, w, k]
            if all(s <= c for s, c in zip(step, caps, strict=True)):
                to = tuple(slice(s, None) for s in step)
                source = tuple(slice(0, c + 1 - s) for s, c in zip(step, caps, strict=True))
                fresh[w][to] = np.maximum(fresh[w][to], value[a][source] + score[a, w, k])
        value = fresh
    return value.max(axis=0)


@pytest.mark.parametrize("fill", [0.0, 0.97])
@pytest.mark.parametrize("caps", [(130,), (330,), (150, 160), (280, 170), (340, 330)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_table(seed, caps, fill):
    scores, costs, tables = random_chain(seed, len(caps))
    value = best_by_cost(tables, caps)
    if fill:
        grid = np.meshgrid(*(np.arange(c + 1) for c in caps), indexing="ij")
        used = np.any([g >= fill * c for g, c in zip(grid, caps, strict=True)], axis=0)
        value = np.where(used, value, -np.inf)
    got = most_probable(scores, costs, caps, fill=fill)
    assert got.gap == 0.0
    assert got.score == pytest.approx(value.max(), abs=1e-7)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", [90, 120, 200])
def test_the_edge_of_what_can_be_met_together(seed, first):
    """At the smallest second budget that goes with the first there is a network, one unit below there is none."""
    _, costs, tables = random_chain(seed, 2)
    allowed = np.isfinite(best_by_cost(tables, (first, 320))).any(axis=0)
    edge = int(allowed.argmax())
    assert allowed[edge]
    found = feasible_together(costs, [first, edge])
    assert found is not None
    assert [sum(p.at(found) for p in cost) for cost in costs][1] == edge
    assert feasible_together(costs, [first, edge - 1]) is None
