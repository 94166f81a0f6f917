"""Lagrangian bounds on a chain, and multipliers that make them tight.

A row (sigma, mu) turns score and costs into one number, sigma * score - mu . cost, which a plain dynamic programme
maximises. With sigma 1, adding mu . limit (the upper limit where mu > 0, the lower where mu < 0) bounds the score of
every assignment within the limits; with sigma 0 the same sum is negative only where the limits cannot be met. Both
hold for any mu, so a poor multiplier costs time and never correctness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dnas.solve.model import Limits
from dnas.solve.stages import Arcs, Chain

ITERATIONS = 40
"""Cuts of the ellipsoid, for each cost."""


class Rows(NamedTuple):
    """Bounds: `sigma` [rows], `mu` [rows, costs], `constant` [rows]."""

    sigma: np.ndarray
    mu: np.ndarray
    constant: np.ndarray

    def values(self, arcs: Arcs, row: int | slice = slice(None)) -> np.ndarray:
        sigma, mu = self.sigma[row], self.mu[row]
        return sigma[..., None] * arcs.score - mu @ arcs.costs

    def take(self, index: np.ndarray) -> Rows:
        return Rows(self.sigma[index], self.mu[index], self.constant[index])


class Point(NamedTuple):
    """The path that maximises one row: its joint indices, score and costs, and the row's bound."""

    path: list[int]
    score: float
    costs: np.ndarray
    bound: float


def rows(sigma: np.ndarray, mu: np.ndarray, limits: Limits) -> Rows:
    """Rows with the constants that make them bounds; a mu that points at a free side is set to 0."""
    mu = np.where((mu > 0) & np.isinf(limits.upper), 0.0, np.where((mu < 0) & np.isinf(limits.lower), 0.0, mu))
    limit = np.where(mu > 0, limits.upper, np.where(mu < 0, limits.lower, 0.0))
    return Rows(sigma, mu, (mu * limit).sum(axis=1))


def feasibility(limits: Limits) -> Rows:
    """Rows that say what can still be met: each side of each cost alone, and all upper sides together."""
    n = len(limits.upper)
    scale = np.diag(1 / limits.unit)
    together = (1 / limits.unit)[None] * np.isfinite(limits.upper)
    mu = np.concatenate([scale, -scale, together])
    result = rows(np.zeros(2 * n + 1), mu, limits)
    return result.take(np.flatnonzero(result.mu.any(axis=1)))


def backward(chain: Chain, bounds: Rows) -> list[np.ndarray]:
    """Best completion from each state, [rows, states] before each stage and after the last."""
    value = np.zeros((len(bounds.sigma), 1))
    table = [value]
    for arcs, size in zip(chain.arcs[::-1], chain.sizes[-2::-1], strict=True):
        value = _reduce(bounds.values(arcs) + value[:, arcs.target], arcs.source, size)
        table.append(value)
    return table[::-1]


def forward(chain: Chain, bounds: Rows) -> list[np.ndarray]:
    """Best way to each state, laid out as in `backward`."""
    value = np.zeros((len(bounds.sigma), 1))
    table = [value]
    for arcs, size in zip(chain.arcs, chain.sizes[1:], strict=True):
        through = bounds.values(arcs) + value[:, arcs.source]
        order = np.argsort(arcs.target, kind="stable")
        value = _reduce(through[:, order], arcs.target[order], size)
        table.append(value)
    return table


def completions(chain: Chain, costs: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The least and the most that each cost can still grow from each state, laid out as in `backward`."""
    both = np.concatenate([np.eye(costs), -np.eye(costs)])
    table = backward(chain, Rows(np.zeros(2 * costs), both, np.zeros(2 * costs)))
    return [-t[:costs] for t in table], [t[costs:] for t in table]


def worst(chain: Chain) -> float:
    """The smallest score of a path, whatever its costs; inf where there is no path."""
    n = len(chain.arcs[0].costs)
    return -float(backward(chain, Rows(-np.ones(1), np.zeros((1, n)), np.zeros(1)))[0][0, 0])


def suffix(chain: Chain, stage: int, state: int) -> Chain:
    """What is left of a chain from a state before a stage."""
    first = chain.arcs[stage]
    first = first.take(np.flatnonzero(first.source == state))
    arcs = [first._replace(source=np.zeros_like(first.source)), *chain.arcs[stage + 1 :]]
    return Chain(chain.steps[stage:], arcs, [1, *chain.sizes[stage + 1 :]])


def floors(bounds: Rows, floor: float) -> np.ndarray:
    """What each row must reach: the score `floor` or feasibility, less the rounding of its own terms."""
    rounding = 1e-12 * (1 + abs(floor) + np.abs(bounds.constant))
    return np.where(bounds.sigma > 0, floor, 0.0) - rounding


def restrict(chain: Chain, bounds: Rows, floor: float) -> Chain:
    """Without the arcs through which some row stays below the score `floor` (or that lie on no path)."""
    ahead, behind = backward(chain, bounds), forward(chain, bounds)
    least = floors(bounds, floor)[:, None]
    kept = []
    for t, arcs in enumerate(chain.arcs):
        through = behind[t][:, arcs.source] + bounds.values(arcs) + ahead[t + 1][:, arcs.target]
        keep = ((through + bounds.constant[:, None] >= least) & (through > -np.inf)).all(axis=0)
        kept.append(arcs.take(np.flatnonzero(keep)))
    return chain._replace(arcs=kept)


def solve_row(chain: Chain, bounds: Rows, row: int = 0) -> Point | None:
    """The best path of a row, lowest arc first among ties; None where the chain has no path."""
    single = bounds.take(np.array([row]))
    ahead = backward(chain, single)
    best = ahead[0][0, 0]
    if best == -np.inf:
        return None
    state, path, score, costs = 0, [], 0.0, np.zeros(bounds.mu.shape[1])
    for arcs, value in zip(chain.arcs, ahead[1:], strict=True):
        lo, hi = np.searchsorted(arcs.source, [state, state + 1])
        part = arcs.take(np.arange(lo, hi))
        i = int((single.values(part)[0] + value[0, part.target]).argmax())
        state = int(part.target[i])
        path.append(int(part.joint[i]))
        score += float(part.score[i])
        costs = costs + part.costs[:, i]
    return Point(path, score, costs, float(best + single.constant[0]))


class Dual(NamedTuple):
    """Multipliers tried, best bound first, with the path each gave."""

    mu: np.ndarray
    points: list[Point]


def minimise(chain: Chain, limits: Limits, unit: np.ndarray, least: float, iterations: int = ITERATIONS) -> Dual:
    """Multipliers with a small bound, by the ellipsoid method (its cuts need no step size and no linear programme).

    Works in costs relative to `unit`, from multipliers found by doubling until their path is within the limits. Stops
    early once a bound falls below `least`, a score that every path surpasses: then nothing is within the limits.
    """
    seen: list[tuple[np.ndarray, Point]] = []

    def evaluate(mu: np.ndarray) -> Point | None:
        point = solve_row(chain, rows(np.ones(1), (mu / unit)[None], limits))
        if point is not None:
            seen.append((mu, point))
        return point

    point = evaluate(np.zeros(len(unit)))
    if point is not None and not _met(point, limits):
        centre, radius = np.zeros(len(unit)), 1e-2 * max(1.0, abs(point.score))
        while radius < 1e9 and not _met(point, limits) and point.bound >= least:
            push = np.where(point.costs > limits.upper, 1.0, np.where(point.costs < limits.lower, -1.0, 0.0))
            centre = radius * np.where(centre != 0, np.sign(centre), push)
            point = evaluate(centre) or point
            radius *= 4
        if point.bound >= least:
            cuts = iterations * len(unit)
            _ellipsoid(evaluate, limits, unit, least, centre / 2, radius / 2 * np.sqrt(len(unit)), cuts)
    order = sorted(range(len(seen)), key=lambda i: seen[i][1].bound)
    return Dual(np.array([seen[i][0] / unit for i in order]), [seen[i][1] for i in order])


def _ellipsoid(
    evaluate: Callable[[np.ndarray], Point | None],
    limits: Limits,
    unit: np.ndarray,
    least: float,
    centre: np.ndarray,
    radius: float,
    cuts: int,
) -> None:
    """Deep-cut ellipsoid method; signs that a one-sided limit forbids are cut off the same way."""
    n = len(centre)
    shape = np.eye(n) * radius**2
    best = np.inf
    for _ in range(cuts):
        wrong = np.where(np.isinf(limits.lower), -centre, np.where(np.isinf(limits.upper), centre, 0.0))
        if (wrong > 0).any():
            j = int(wrong.argmax())
            slope, depth = np.zeros(n), float(wrong[j])
            slope[j] = np.sign(centre[j])
        else:
            point = evaluate(centre)
            if point is None or point.bound < least:
                return
            limit = np.where(centre > 0, limits.upper, np.where(centre < 0, limits.lower, point.costs))
            slope, best = (limit - point.costs) / unit, min(best, point.bound)
            depth = point.bound - best
        width = float(np.sqrt(max(slope @ shape @ slope, 0.0)))
        if width <= 1e-7 * max(1.0, abs(best)) or depth >= width:
            return
        alpha = depth / width
        along = shape @ slope / width
        centre = centre - along * (1 + n * alpha) / (n + 1)
        if n == 1:
            shape = shape * ((1 - alpha) / 2) ** 2
            continue
        shape = shape - np.outer(along, along) * 2 * (1 + n * alpha) / ((n + 1) * (1 + alpha))
        shape = shape * (n * n * (1 - alpha * alpha) / (n * n - 1))


def _met(point: Point, limits: Limits) -> bool:
    return bool(((point.costs <= limits.upper) & (point.costs >= limits.lower)).all())


def _reduce(values: np.ndarray, groups: np.ndarray, size: int) -> np.ndarray:
    """Maximum over each group (sorted), -inf where a group is empty."""
    result = np.full((len(values), size), -np.inf)
    if len(groups):
        starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
        result[:, groups[starts]] = np.maximum.reduceat(values, starts, axis=1)
    return result
