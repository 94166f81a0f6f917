"""Lagrangian bounds on a chain, and multipliers that make them tight.

A row (sigma, mu) turns score and costs into one number, sigma * score - mu . cost, which a plain dynamic programme
maximises. With sigma 1, adding mu . limit (the upper limit where mu > 0, the lower where mu < 0) bounds the score of
every assignment within the limits; with sigma 0 the same sum is negative only where the limits cannot be met. Both
hold for any mu, so a poor multiplier costs time and never correctness.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dnas.solve.model import Limits
from dnas.solve.stages import Arcs, Chain

ITERATIONS = 40
"""Cuts of the ellipsoid, for each dimension."""


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


def restrict(chain: Chain, bounds: Rows, floor: np.ndarray) -> Chain:
    """Without the arcs through which some row stays below its `floor` (or that lie on no path)."""
    ahead, behind = backward(chain, bounds), forward(chain, bounds)
    kept = []
    for t, arcs in enumerate(chain.arcs):
        through = behind[t][:, arcs.source] + bounds.values(arcs) + ahead[t + 1][:, arcs.target]
        keep = ((through + bounds.constant[:, None] >= floor[:, None]) & (through > -np.inf)).all(axis=0)
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


def minimise(chain: Chain, limits: Limits, start: np.ndarray | None = None) -> Dual:
    """Multipliers with a small bound, by the ellipsoid method (its cuts need no step size and no linear programme).

    Works in costs relative to their limits. The radius comes from doubling a common multiplier until the path it
    gives obeys the upper limits.
    """
    n, unit = len(limits.upper), limits.unit
    signs = np.where(np.isfinite(limits.upper), 1.0, -1.0)
    two_sided = np.isfinite(limits.upper) & np.isfinite(limits.lower)
    seen: list[tuple[np.ndarray, Point]] = []

    def evaluate(mu: np.ndarray) -> Point | None:
        point = solve_row(chain, rows(np.ones(1), (mu / unit)[None], limits))
        if point is not None:
            seen.append((mu, point))
        return point

    point = evaluate(np.zeros(n))
    if point is None:
        return Dual(np.zeros((0, n)), [])
    centre, radius = np.zeros(n), 0.0
    if n and not _met(point, limits):
        step = max(1.0, abs(point.score)) * 1e-2
        while radius < 1e9 and not _met(point, limits):
            radius = step if radius == 0 else 4 * radius
            push = np.where(point.costs > limits.upper, 1.0, np.where(point.costs < limits.lower, -1.0, 0.0))
            held = centre != 0
            centre = radius * np.where(held, np.sign(centre), push)
            point = evaluate(centre)
            assert point is not None
        _ellipsoid(evaluate, limits, centre / 2, radius * np.sqrt(n) * 2, signs, two_sided)
    order = sorted(range(len(seen)), key=lambda i: seen[i][1].bound)
    return Dual(np.array([seen[i][0] / unit for i in order]), [seen[i][1] for i in order])


def _ellipsoid(evaluate, limits: Limits, centre: np.ndarray, radius: float, signs: np.ndarray, two_sided: np.ndarray):
    n, unit = len(centre), limits.unit
    shape = np.eye(n) * radius**2
    best = np.inf
    for _ in range(ITERATIONS * n):
        wrong = np.where(two_sided, 0.0, np.maximum(0.0, -centre * signs))
        if wrong.any():
            j = int(wrong.argmax())
            slope, depth = np.zeros(n), float(wrong[j])
            slope[j] = -signs[j]
        else:
            point = evaluate(centre)
            limit = np.where(centre > 0, limits.upper, np.where(centre < 0, limits.lower, point.costs))
            slope, best = (limit - point.costs) / unit, min(best, point.bound)
            depth = point.bound - best
        width = float(np.sqrt(max(slope @ shape @ slope, 0.0)))
        if width <= 1e-7 * max(1.0, abs(best)):
            return
        alpha = depth / width
        if alpha >= 1:
            return
        along = shape @ slope / width
        if n == 1:
            centre = centre - along * (1 + alpha) / 2
            shape = shape * ((1 - alpha) / 2) ** 2
            continue
        centre = centre - along * (1 + n * alpha) / (n + 1)
        shape = (shape - np.outer(along, along) * 2 * (1 + n * alpha) / ((n + 1) * (1 + alpha))) * (
            n * n * (1 - alpha * alpha) / (n * n - 1)
        )


def _met(point: Point, limits: Limits) -> bool:
    return bool(((point.costs <= limits.upper) & (point.costs >= limits.lower)).all())


def _reduce(values: np.ndarray, groups: np.ndarray, size: int) -> np.ndarray:
    """Maximum over each group (sorted), -inf where a group is empty."""
    result = np.full((len(values), size), -np.inf)
    if len(groups):
        starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
        result[:, groups[starts]] = np.maximum.reduceat(values, starts, axis=1)
    return result
