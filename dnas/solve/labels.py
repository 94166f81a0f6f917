"""Label setting on a chain: partial assignments (state, costs, score), pruned by bounds and by dominance.

A label survives while every bound row still allows a completion within the limits that is better than the incumbent.
Arcs are sorted by what they lose against the best bound of their state, so that a label is extended by just those arcs
that it can afford. Where more labels live than the beam holds, those with the best bounds are kept and the largest
bound among the others is returned: nothing is lost silently, and an answer from which nothing was lost is optimal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dnas.solve.dual import Rows, backward, forward
from dnas.solve.model import Limits
from dnas.solve.stages import Arcs, Chain

EXPANSIONS = 8
"""Extensions tried in a stage, for each label of the beam."""
RIVALS = 24
"""Labels of the same state that each label is compared with (several costs)."""


class Labels(NamedTuple):
    state: np.ndarray
    costs: np.ndarray
    """[costs, labels]"""
    score: np.ndarray
    bound: np.ndarray
    parent: np.ndarray
    joint: np.ndarray

    def take(self, index: np.ndarray) -> Labels:
        costs = self.costs[:, index]
        return Labels(self.state[index], costs, *(field[index] for field in self[2:]))


class Found(NamedTuple):
    """Complete paths within the limits, best first, as (score, path); the largest bound that was given up."""

    paths: list[tuple[float, list[int]]]
    dropped: float


def search(chain: Chain, limits: Limits, bounds: Rows, floor: float, beam: int, keep: int = 4) -> Found:
    """Assignments with a score above `floor` within the limits.

    Args:
        chain: the layered graph.
        limits: of the costs.
        bounds: rows (see `dual`); the first must have sigma 1.
        floor: what must be surpassed.
        beam: labels kept after each stage.
        keep: how many of the complete paths are returned.
    """
    ahead, behind = backward(chain, bounds), forward(chain, bounds)
    floors = np.where(bounds.sigma > 0, floor, -1e-9)
    cut = np.where(bounds.sigma > 0, -np.inf, -1e-9)
    start = float(np.min(np.where(bounds.sigma > 0, ahead[0][:, 0] + bounds.constant, np.inf)))
    zero = np.zeros(1, np.int64)
    labels = Labels(zero, np.zeros((len(limits.upper), 1)), np.zeros(1), np.array([start]), zero, zero)
    if np.any(ahead[0][:, 0] + bounds.constant < np.maximum(floors, cut)):
        return Found([], -np.inf)
    dropped, trail = -np.inf, []
    for t, arcs in enumerate(chain.arcs):
        main = _main_row(behind[t] + ahead[t] + bounds.constant[:, None], bounds.sigma)
        labels, lost = _extend(labels, arcs, bounds, main, ahead[t], ahead[t + 1], floors, EXPANSIONS * beam)
        dropped = max(dropped, lost)
        labels = labels.take(_undominated(labels, limits))
        if len(labels.state) > beam:
            order = np.argsort(-labels.bound, kind="stable")
            dropped = max(dropped, float(labels.bound[order[beam]]))
            labels = labels.take(np.sort(order[:beam]))
        trail.append((labels.parent, labels.joint))
        if not len(labels.state):
            return Found([], dropped)
    # The rows allow for rounding; the limits themselves do not.
    slack = 1e-12 * limits.unit[:, None]
    inside = (labels.costs <= limits.upper[:, None] + slack) & (labels.costs >= limits.lower[:, None] - slack)
    index = np.flatnonzero(inside.all(axis=0))
    index = index[np.argsort(-labels.score[index], kind="stable")]
    if len(index) > keep:
        dropped = max(dropped, float(labels.score[index[keep]]))
    return Found([(float(labels.score[i]), _path(trail, int(i))) for i in index[:keep]], dropped)


def _main_row(through: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """For each state the bound row that is tightest there."""
    return np.where(sigma[:, None] > 0, through, np.inf).argmin(axis=0)


def _extend(
    labels: Labels,
    arcs: Arcs,
    bounds: Rows,
    main: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    floors: np.ndarray,
    most: int,
) -> tuple[Labels, float]:
    """All affordable extensions of the labels by the arcs of a stage, and the best bound given up."""
    row = main[arcs.source]
    value = bounds.sigma[row] * arcs.score - (bounds.mu[row] * arcs.costs.T).sum(axis=1) + there[row, arcs.target]
    loss = here[row, arcs.source] - value
    usable = np.flatnonzero(np.isfinite(loss))
    usable = usable[np.lexsort((loss[usable], arcs.source[usable]))]
    arcs, loss = arcs.take(usable), np.maximum(loss[usable], 0.0)
    first = np.searchsorted(arcs.source, labels.state)
    last = np.searchsorted(arcs.source, labels.state, side="right")
    row = main[labels.state]
    top = labels.score - (bounds.mu[row] * labels.costs.T).sum(axis=1) + here[row, labels.state] + bounds.constant[row]
    counts, lost = _affordable(labels.state, top, floors[0], first, last, loss, arcs.source, most)
    parent = np.repeat(np.arange(len(counts)), counts)
    arc = first[parent] + np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts, counts)
    target = arcs.target[arc]
    costs = labels.costs[:, parent] + arcs.costs[:, arc]
    score = labels.score[parent] + arcs.score[arc]
    bound = np.full(len(arc), np.inf)
    for r in range(len(bounds.sigma)):
        mine = bounds.sigma[r] * score - bounds.mu[r] @ costs + there[r, target] + bounds.constant[r]
        keep = np.flatnonzero(mine >= floors[r])
        if bounds.sigma[r] > 0:
            bound = np.minimum(bound, mine)
        if len(keep) < len(arc):
            parent, arc, target, costs = parent[keep], arc[keep], target[keep], costs[:, keep]
            score, bound = score[keep], bound[keep]
    return Labels(target, costs, score, bound, parent, arcs.joint[arc]), lost


def _affordable(
    state: np.ndarray,
    top: np.ndarray,
    floor: float,
    first: np.ndarray,
    last: np.ndarray,
    loss: np.ndarray,
    source: np.ndarray,
    most: int,
) -> tuple[np.ndarray, float]:
    """How many of its arcs each label can afford; where these are too many, a higher floor and what it costs."""
    if not len(loss) or not len(state):
        return np.zeros(len(state), np.int64), -np.inf
    gap = 2 * float(loss.max()) + 1.0
    keys = source * gap + loss

    def counts_at(level: float) -> np.ndarray:
        allowance = np.clip(top - level, -gap / 4, gap / 2) + 1e-9 * (1 + gap)
        return np.clip(np.searchsorted(keys, state * gap + allowance, side="right") - first, 0, last - first)

    counts = counts_at(floor)
    if counts.sum() <= most:
        return counts, -np.inf
    low, high = max(floor, float(top.min() - gap)), float(top.max())
    for _ in range(24):
        level = (low + high) / 2
        low, high = (level, high) if counts_at(level).sum() > most else (low, level)
    fewer = counts_at(high)
    # Ties can leave most of the room empty above the level: share it out evenly.
    share = max((most - int(fewer.sum())) // len(state), 0)
    fewer = np.minimum(counts, np.maximum(fewer, np.minimum(counts_at(low), fewer + share)))
    if fewer.sum() == 0:
        fewer[int(top.argmax())] = 1
    cut = np.flatnonzero(fewer < counts)
    lost = float((top[cut] - loss[first[cut] + fewer[cut]]).max())
    return fewer, lost


def _undominated(labels: Labels, limits: Limits) -> np.ndarray:
    """Indices of labels that no other label of the same state makes superfluous.

    A cost with an upper limit alone is better small, with a lower limit alone better large; with both, only labels
    of equal cost compare.
    """
    n = len(labels.state)
    if n < 2:
        return np.arange(n)
    capped, floored = np.isfinite(limits.upper), np.isfinite(limits.lower)
    ordered = [np.where(up, 1.0, -1.0) * c for c, up, lo in zip(labels.costs, capped, floored, strict=True) if up != lo]
    equal = [c for c, up, lo in zip(labels.costs, capped, floored, strict=True) if up and lo]
    group = _groups([labels.state, *equal])
    if len(ordered) <= 1:
        keys = ordered or [np.zeros(n)]
        order = np.lexsort((-labels.score, keys[0], group))
        rank = np.unique(labels.score, return_inverse=True)[1].reshape(-1)
        climb = group[order] * (n + 1) + rank[order]
        best = np.maximum.accumulate(climb)
        return np.sort(order[np.concatenate([[True], climb[1:] > best[:-1]])])
    keep = np.arange(n)
    for lead in (-labels.bound, -labels.score, *ordered):
        order = keep[np.lexsort((keep, lead[keep], group[keep]))]
        keep = np.sort(order[~_beaten(group[order], labels.score[order], [c[order] for c in ordered])])
    return keep


def _beaten(group: np.ndarray, score: np.ndarray, costs: list[np.ndarray]) -> np.ndarray:
    """Whether one of the first labels of the group, or one of those just before, is at least as good."""
    n = len(group)
    position = np.arange(n)
    first = np.searchsorted(group, group)
    beaten = np.zeros(n, bool)
    for k in range(RIVALS):
        for rival in (first + k, position - 1 - k):
            ok = (rival < position) & (rival >= first)
            r = np.where(ok, rival, position)
            better = ok & (score[r] >= score)
            for c in costs:
                better &= c[r] <= c
            beaten |= better
    return beaten


def _groups(keys: list[np.ndarray]) -> np.ndarray:
    """Numbers the distinct rows of the keys."""
    if len(keys) == 1:
        return keys[0]
    order = np.lexsort(keys)
    change = np.zeros(len(order), bool)
    for key in keys:
        change[1:] |= key[order][1:] != key[order][:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(change)
    return group


def _path(trail: list[tuple[np.ndarray, np.ndarray]], label: int) -> list[int]:
    path = []
    for parent, joint in reversed(trail):
        path.append(int(joint[label]))
        label = int(parent[label])
    return path[::-1]
