"""The best path of a chain within limits, over all values of the global choices: bound, search, tighten, repeat.

A choice that is present nearly everywhere (the resolution) would multiply every frontier; it is enumerated instead,
and each of its values is a branch with a chain and bounds of its own. The incumbent is shared: most branches end at
their first bound. Where labels had to be given up, multipliers are fitted to the hardest of them (what is left to
spend from there on asks for other prices than the whole network does), and the search is repeated with a larger beam.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from dnas.solve.dual import Rows, feasibility, minimise, restrict, rows, suffix, worst
from dnas.solve.labels import Partial, search
from dnas.solve.model import Limits, Model
from dnas.solve.stages import Chain, chain_of, lifetimes, plan
from dnas.space.quantity import Choice

BRANCHES = 64
BEAMS = (300, 300, 1_000, 3_000, 10_000, 40_000)
THOROUGH = 3_000
"""Beams beyond this one are tried only while the gap exceeds `ENOUGH`."""
ENOUGH = 5e-3
PRICES = 40
"""Bound rows kept at most."""
FITTED = 16
"""Labels that multipliers are fitted to after a search, and the cuts (for each cost) spent on each."""
FITTED_CUTS = 20

Assignment = dict[str, int]
Check = Callable[[Assignment], bool]


class Branch(NamedTuple):
    """The chain that is left where the global choices are fixed."""

    fixed: Assignment
    chain: Chain
    least: float
    """Below the score of every path."""


class Best(NamedTuple):
    """What a search found (None where nothing) and the bound that it proved; infeasibility is a bound of -inf."""

    assignment: Assignment | None
    score: float
    bound: float


class _Open(NamedTuple):
    """A branch still searched: its chain without useless arcs, its multipliers, its bound."""

    branch: Branch
    chain: Chain
    mu: np.ndarray
    bound: float


def branches(model: Model) -> list[Branch]:
    """One branch for each joint option of the global choices that some path allows."""
    fixed = _global_choices(model)
    names = [c.name for c in fixed]
    steps = plan([tuple(c for c in over if c not in fixed) for over in model.scopes()])
    steps = [s for s in steps if s.new or s.before]
    result = []
    for options in itertools.product(*(range(len(c)) for c in fixed)):
        assignment = dict(zip(names, options, strict=True))
        chain = chain_of(model.fix(assignment), steps)
        lowest = worst(chain)
        if lowest < math.inf:
            result.append(Branch(assignment, chain, lowest - 1e-6 * (1 + abs(lowest))))
    return result


def solve(parts: list[Branch], limits: Limits, accept: Check, start: Best, *, first: bool = False) -> Best:
    """The best score within the limits.

    Args:
        parts: from `branches`.
        limits: of the costs.
        accept: the exact test of an assignment; bounds and labels allow for rounding, this does not.
        start: a known answer and a known bound.
        first: whether the first accepted assignment is enough.
    """
    incumbent = _Incumbent(start, accept, first)
    queue = sorted(_opened(parts, limits, incumbent), key=lambda o: -o.bound)
    for beam in BEAMS:
        left: list[_Open] = []
        for item in queue:
            if incumbent.settles(item.bound):
                continue
            if beam > THOROUGH and item.bound - incumbent.best.score <= ENOUGH:
                left.append(item)
            else:
                left += _searched(item, limits, incumbent, beam)
        queue = left
    best = incumbent.best
    still = max((o.bound for o in queue if not _settled(o.bound, best)), default=-math.inf)
    return best._replace(bound=min(start.bound, max(best.score, still)))


class _Incumbent:
    """The best answer so far, which all branches share."""

    def __init__(self, start: Best, accept: Check, first: bool):
        self.best, self.start, self.accept, self.first = start, start, accept, first

    def offer(self, score: float, branch: Branch, path: list[int]) -> None:
        """Takes a path that is better and passes the exact test."""
        if score > self.best.score + _tolerance(score) or self.best.assignment is None:
            assignment = branch.fixed | branch.chain.assignment(path)
            if self.accept(assignment):
                self.best = self.best._replace(assignment=assignment, score=score)

    @property
    def enough(self) -> bool:
        """Whether any answer will do, and there is one."""
        return self.first and self.best.assignment is not None

    def settles(self, bound: float) -> bool:
        """Whether a branch of this bound need not be searched."""
        return _settled(bound, self.best) or self.enough


def _opened(parts: list[Branch], limits: Limits, incumbent: _Incumbent) -> Iterator[_Open]:
    """The branches that may hold something within the limits, with the multipliers of their first bound."""
    for branch in parts:
        if incumbent.enough:
            return
        found = minimise(branch.chain, limits, limits.unit, branch.least)
        for point in sorted(found.points, key=lambda p: -p.score):
            if point.score > incumbent.best.score and _near(point.costs, limits):
                incumbent.offer(point.score, branch, point.path)
        if found.points and found.points[0].bound >= branch.least:
            mu = found.mu[0]
            bound = min(found.points[0].bound, incumbent.start.bound)
            yield _Open(branch, branch.chain, np.array([mu, mu * 0.7, mu * 1.4]), bound)


def _searched(item: _Open, limits: Limits, incumbent: _Incumbent, beam: int) -> Iterator[_Open]:
    """The branch as a search with this beam leaves it, with further multipliers; nothing where it is settled."""
    bounds, best = _bounds(item.mu, limits), incumbent.best
    floor = max(item.branch.least, best.score + _tolerance(best.score) if best.assignment else -math.inf)
    chain = restrict(item.chain, bounds, floor)
    found = search(chain, limits, bounds, floor, beam)
    for score, path in found.paths:
        incumbent.offer(score, item.branch, path)
    bound = min(item.bound, max(found.dropped, incumbent.best.score if found.paths else -math.inf))
    if bound > -math.inf and not _settled(bound, incumbent.best):
        mu = _fit(chain, limits, item.branch.least, found.hard, limits.unit)
        merged = np.concatenate([item.mu, mu])
        merged = np.concatenate([merged[:3], merged[3:][-(PRICES - 3) :]])
        yield _Open(item.branch, chain, merged, bound)


def _fit(chain: Chain, limits: Limits, least: float, hard: list[Partial], unit: np.ndarray) -> np.ndarray:
    """Multipliers fitted to labels spread over the stages."""
    step = max(1, -(-len(hard) // FITTED))
    fitted = []
    for partial in hard[::step]:
        rest = suffix(chain, partial.stage, partial.state)
        room = Limits(limits.lower - partial.costs, limits.upper - partial.costs)
        found = minimise(rest, room, unit, least - partial.score, FITTED_CUTS)
        if found.points:
            fitted.append(found.mu[0])
    return np.unique(np.array(fitted), axis=0) if fitted else np.zeros((0, len(unit)))


def _bounds(mu: np.ndarray, limits: Limits) -> Rows:
    parts = rows(np.ones(len(mu)), mu, limits), feasibility(limits)
    return Rows(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _tolerance(score: float) -> float:
    """Scores that differ by less are equal: sums of log-probabilities in another order."""
    return 1e-9 * max(1.0, abs(score)) if math.isfinite(score) else 0.0


def _settled(bound: float, best: Best) -> bool:
    return best.assignment is not None and bound <= best.score + _tolerance(best.score)


def _near(costs: np.ndarray, limits: Limits) -> bool:
    slack = 1e-12 * limits.unit
    return bool(((costs <= limits.upper + slack) & (costs >= limits.lower - slack)).all())


def _global_choices(model: Model) -> list[Choice]:
    """Choices present in at least half of the stages, the most present first, as long as they make few branches."""
    steps = plan(model.scopes())
    present = lifetimes(steps)
    candidates = [c for c in model.choices if present.get(c, 0) * 2 >= len(steps) and len(steps) >= 4]
    chosen: list[Choice] = []
    for choice in sorted(candidates, key=lambda c: -present[c]):
        if math.prod(len(c) for c in chosen) * len(choice) <= BRANCHES:
            chosen.append(choice)
    return chosen
