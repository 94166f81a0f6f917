"""A space of the size of FBNetV2's (18 blocks, 6 resolutions, 10^45 choices): proofs within seconds of processor time.

Widths as in the table of FBNetV2-P; multiply-adds and parameters by the usual formulas; latency a random table.
"""

import math
import time

import numpy as np
import pytest

from dnas.solve.constrained import feasible_together, most_probable, smallest
from dnas.solve.elimination import log_total
from dnas.space.quantity import Choice, Product, Quantity

WIDTHS = [
    ((12, 16, 4), 1, 1), ((16, 28, 4), 1, 2), ((16, 28, 4), 2, 1), ((16, 40, 8), 1, 2), ((16, 40, 8), 2, 1),
    ((48, 96, 8), 1, 2), ((48, 96, 8), 2, 1), ((72, 128, 8), 4, 1), ((112, 216, 8), 1, 2), ((112, 216, 8), 3, 1),
]  # fmt: skip
"""(low, high, step), blocks, stride of the first."""
RESOLUTION = Choice("resolution", (128, 160, 192, 224, 256, 288))
EXPANSIONS = (0.75, 1.5, 2.25, 3.0, 3.75, 4.5)


def round8(x: float) -> int:
    return max(8, int(x + 4) // 8 * 8)


def one_hot_if(condition: Choice, c: Choice, logp: np.ndarray) -> Quantity:
    """Scores of a choice that matters only where the condition's option is 0."""
    return Quantity((condition, c), np.stack([logp, np.where(np.arange(len(c)) == 0, 0.0, -np.inf)]))


def fbnetv2_like(seed: int, scale: float, skip_bias: float = 0.0):
    """(scores, [macs, params, latency])."""
    rng = np.random.default_rng(seed)

    def logits(c: Choice, bias: float = 0.0) -> np.ndarray:
        x = rng.normal(size=len(c)) * scale + bias * np.arange(len(c))
        return x - x.max() - np.log(np.exp(x - x.max()).sum())

    scores = [Quantity((RESOLUTION,), logits(RESOLUTION))]
    side, before, block = Quantity.of(RESOLUTION) // 2, Quantity.constant(16), 0
    macs, params, latency = [Product(side * side, 27 * 16)], [Product(27 * 16 + 32)], []
    for (low, high, step), n, first_stride in WIDTHS:
        for k in range(n):
            stride, block = first_stride if k == 0 else 1, block + 1
            name = f"b{block}"
            width = Choice(f"{name}.out", tuple(range(low, high + 1, step)))
            kernel, se = Choice(f"{name}.kernel", (3, 5)), Choice(f"{name}.se", (False, True))
            skip, expand = Choice(f"{name}.skip", (False, True)), Choice(f"{name}.expand", EXPANSIONS)
            rate = Quantity.of(expand) if block > 1 else Quantity.constant(1)
            live, gone = Quantity((skip,), np.array([1, 0])), Quantity((skip,), np.array([0, 1]))
            out, size = Quantity.of(width), Quantity.of(kernel) * Quantity.of(kernel)
            hidden = Quantity.combine(lambda w, e: round8(w * e), before, rate)
            squeeze = Quantity.combine(lambda h: round8(h / 4), hidden) * Quantity((se,), np.array([0, 2]))
            after = Quantity.combine(lambda s, d=stride: -(-s // d), side)
            changed = Quantity.combine(lambda a, b, d=stride: int(a != b or d > 1), before, out) * gone
            area = after * after
            macs += [Product(side * side, before, hidden, live), Product(area, size, hidden, live)]
            macs += [
                Product(area, hidden, out, live),
                Product(hidden, squeeze, live),
                Product(area, before, out, changed),
            ]
            params += [Product(before, hidden, live), Product(size, hidden, live), Product(hidden, out, live)]
            params += [
                Product(hidden, squeeze, live),
                Product(before, out, changed),
                Product(hidden, live),
                Product(out),
            ]
            over = (RESOLUTION, *before.over, *rate.over, kernel, se, skip, width)
            work = Quantity.combine(
                lambda r, i, h, o, kk, s: (r / 288) ** 2 * (i * h + h * o + 2 * kk * h + 1500 * s) / 2e4 + 0.02,
                Quantity.of(RESOLUTION), before, hidden, out, size, Quantity((se,), np.array([0, 1])),
            )  # fmt: skip
            table = (work * live).table_over(over) * rng.uniform(0.7, 1.3, size=tuple(len(c) for c in over))
            latency.append(Product(Quantity(over, table)))
            scores += [one_hot_if(skip, c, logits(c)) for c in (kernel, se, *rate.over)]
            scores += [Quantity((skip,), logits(skip, -skip_bias)), Quantity((width,), logits(width))]
            side, before = after, out
    macs += [Product(side * side, before, 1984), Product(1984 * 1000)]
    params += [Product(before, 1984), Product(1985 * 1000)]
    return scores, [tuple(macs), tuple(params), tuple(latency)]


def budgets_of(macs_m: int) -> list[float]:
    return [macs_m * 10**6, int((3 + macs_m / 200) * 1e6), 1.5 + macs_m / 30]


def check(scores, costs, budgets, seconds: float, fill: float = 0.97) -> None:
    began = time.process_time()  # a machine that stops for a minute proves nothing
    got = most_probable(scores, costs, budgets, fill=fill)
    elapsed = time.process_time() - began
    assert got.gap <= 0.01
    assert elapsed < seconds
    assert got.score == pytest.approx(math.fsum(q.at(got.assignment) for q in scores))
    assert all(c <= b for c, b in zip(got.costs, budgets, strict=True))
    assert got.filled and (fill == 0 or any(c >= fill * b for c, b in zip(got.costs, budgets, strict=True)))


@pytest.mark.parametrize("macs_m", [60, 100, 200, 300, 400])
@pytest.mark.parametrize(("scale", "skip_bias"), [(0.0, 0.0), (1.0, 0.0), (1.0, 20.0), (30.0, 0.0)])
def test_one_budget(macs_m, scale, skip_bias):
    scores, costs = fbnetv2_like(1, scale, skip_bias)
    check(scores, costs[:1], budgets_of(macs_m)[:1], 10)


@pytest.mark.parametrize(("macs_m", "scale", "skip_bias"), [(60, 0.0, 0.0), (200, 1.0, 20.0), (300, 30.0, 0.0)])
def test_three_budgets(macs_m, scale, skip_bias):
    scores, costs = fbnetv2_like(2, scale, skip_bias)
    check(scores, costs, budgets_of(macs_m), 60)


def test_three_tight_budgets():
    """All three between the smallest and what the most probable network would need."""
    scores, costs = fbnetv2_like(3, 1.0, 20.0)
    budgets = [150 * 10**6, 36 * 10**5, 2.2]
    assert feasible_together(costs, budgets)
    for fill in (0.0, 0.97):
        check(scores, costs, budgets, 60, fill)


def test_budgets_that_cannot_be_met_together():
    """A network of little latency has few multiply-adds too, but the most alive one within 40 M exceeds 1 ms."""
    scores, costs = fbnetv2_like(4, 1.0)
    gone = [Product(Quantity((c,), np.array([0, 1]))) for q in scores for c in q.over if c.name.endswith(".skip")]
    least = smallest(costs[2])[0]
    skips = [*dict.fromkeys(p.factors[0].over[0] for p in gone)]
    alive = tuple(Product(Quantity((c,), np.array([0, 1]))) for c in skips)
    assert least < 0.01 and smallest(alive)[0] == 0
    assert feasible_together([costs[2], alive], [0.01, 18]) is not None
    assert feasible_together([costs[2], alive], [0.01, 17]) is None


def test_count_of_distinct_architectures():
    """Choices inside a skipped block do not count: the exact product, to the last digit that a float can hold."""
    scores, _ = fbnetv2_like(0, 0.0)
    support = [Quantity(q.over, np.where(np.isneginf(q.table), -np.inf, 0.0)) for q in scores]
    widths = [len(range(low, high + 1, step)) for (low, high, step), n, _ in WIDTHS for _ in range(n)]
    exact = 6 * math.prod(widths) * (1 + 2 * 2) * (1 + 2 * 2 * 6) ** 17
    assert log_total(support) / math.log(10) == pytest.approx(math.log10(exact), rel=0, abs=1e-11)
