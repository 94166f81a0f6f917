"""Label setting on a chain: partial assignments (state, costs, score), pruned by bounds and by dominance.

A label survives while every bound row still allows a completion within the limits that is better than the incumbent.
Arcs are sorted by what they lose against the best bound of their state, so that a label is extended by just those arcs
that it can afford. Where more labels live than the beam holds, those with the best bounds are kept and the largest
bound among the others is returned: nothing is lost silently, and an answer from which nothing was lost is optimal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dnas.solve.dual import Rows, backward, completions, floors, forward
from dnas.solve.model import Limits
from dnas.solve.stages import Arcs, Chain

EXPANSIONS = 8
"""Extensions tried in a stage, for each label of the beam."""
RIVALS = 24
"""Labels of the same state that each label is compared with (several costs)."""
KEPT = 4
"""Complete paths returned, at most."""
SLICES = 128
"""Of a limit: how finely labels are told apart by cost when the beam is full."""


class Labels(NamedTuple):
    """Partial paths of one stage, as arrays."""

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


class Partial(NamedTuple):
    """A label: the stage and state it stands before, what it has spent and scored."""

    stage: int
    state: int
    costs: np.ndarray
    score: float


class Paths(NamedTuple):
    """What a search found, and what it gave up."""

    paths: list[tuple[float, list[int]]]
    """Complete paths within the limits, best first."""
    dropped: float
    """The largest bound that was given up."""
    hard: list[Partial]
    """Labels on the way whose bounds stood in the way of a proof."""


def search(chain: Chain, limits: Limits, bounds: Rows, floor: float, beam: int) -> Paths:
    """Assignments with a score above `floor` within the limits.

    Args:
        chain: the layered graph.
        limits: of the costs.
        bounds: rows (see `dual`); the first must have sigma 1.
        floor: what must be surpassed.
        beam: labels kept after each stage.
    """
    ahead, behind = backward(chain, bounds), forward(chain, bounds)
    least, most = completions(chain, len(limits.upper))
    needed = floors(bounds, floor)
    start = float(np.min(np.where(bounds.sigma > 0, ahead[0][:, 0] + bounds.constant, np.inf)))
    zero = np.zeros(1, np.int64)
    labels = Labels(zero, np.zeros((len(limits.upper), 1)), np.zeros(1), np.array([start]), zero, zero)
    if np.any(ahead[0][:, 0] + bounds.constant < needed):
        return Paths([], -np.inf, [])
    dropped, trail, hard = -np.inf, [], []
    for t, arcs in enumerate(chain.arcs):
        main = _main_row(behind[t] + ahead[t] + bounds.constant[:, None], bounds.sigma)
        labels, lost = _extend(labels, arcs, bounds, main, ahead[t], ahead[t + 1], needed, EXPANSIONS * beam)
        dropped = max(dropped, lost)
        labels = labels.take(_undominated(labels, limits, least[t + 1][:, labels.state], most[t + 1][:, labels.state]))
        if len(labels.state) > beam:
            kept = _chosen(labels, limits, beam)
            dropped = max(dropped, float(labels.bound[~kept].max()))
            labels = labels.take(np.flatnonzero(kept))
        trail.append((labels.parent, labels.joint))
        if not len(labels.state):
            return Paths([], dropped, hard)
        if t + 1 < len(chain.arcs):
            order = np.argsort(-labels.bound, kind="stable")
            for i in order[[0, len(order) // 2]]:
                hard.append(Partial(t + 1, int(labels.state[i]), labels.costs[:, i], float(labels.score[i])))
    # The rows allow for rounding; the limits themselves do not.
    slack = 1e-12 * limits.unit[:, None]
    inside = (labels.costs <= limits.upper[:, None] + slack) & (labels.costs >= limits.lower[:, None] - slack)
    index = np.flatnonzero(inside.all(axis=0))
    index = index[np.argsort(-labels.score[index], kind="stable")]
    if len(index) > KEPT:
        dropped = max(dropped, float(labels.score[index[KEPT]]))
    return Paths([(float(labels.score[i]), _path(trail, int(i))) for i in index[:KEPT]], dropped, hard)


def _chosen(labels: Labels, limits: Limits, beam: int) -> np.ndarray:
    """Half of the beam goes to the best bounds, half to the best of each state and slice of cost.

    Bounds alone would keep near-copies of one promising label, and all of them may miss the limits by a little.
    """
    order = np.argsort(-labels.bound, kind="stable")
    kept = np.zeros(len(order), bool)
    kept[order[: beam // 2]] = True
    rest = order[beam // 2 :]
    j = int(np.isfinite(limits.lower).argmax())
    part = np.floor(labels.costs[j, rest] / limits.unit[j] * SLICES) if len(labels.costs) else np.zeros(len(rest))
    by_part = np.lexsort((np.arange(len(rest)), part, labels.state[rest]))
    new = (np.diff(labels.state[rest][by_part]) != 0) | (np.diff(part[by_part]) != 0)
    first = np.concatenate([[0], np.maximum.accumulate(np.where(new, np.arange(1, len(rest)), 0))])
    place = np.empty(len(rest), np.int64)
    place[by_part] = np.arange(len(rest)) - first
    kept[rest[np.lexsort((np.arange(len(rest)), place))][: beam - beam // 2]] = True
    return kept


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
    needed: np.ndarray,
    most: int,
) -> tuple[Labels, float]:
    """All affordable extensions of the labels by the arcs of a stage, and the best bound given up."""
    row = main[arcs.source]
    value = bounds.sigma[row] * arcs.score - (bounds.mu[row] * arcs.costs.T).sum(axis=1) + there[row, arcs.target]
    usable = np.flatnonzero(np.isfinite(value))
    loss = np.full(len(value), np.inf)
    loss[usable] = here[row, arcs.source][usable] - value[usable]
    usable = usable[np.lexsort((loss[usable], arcs.source[usable]))]
    arcs, loss = arcs.take(usable), np.maximum(loss[usable], 0.0)
    first = np.searchsorted(arcs.source, labels.state)
    last = np.searchsorted(arcs.source, labels.state, side="right")
    row = main[labels.state]
    top = labels.score - (bounds.mu[row] * labels.costs.T).sum(axis=1) + here[row, labels.state] + bounds.constant[row]
    counts, lost = _affordable(labels.state, top, needed[0], first, last, loss, arcs.source, most)
    parent = np.repeat(np.arange(len(counts)), counts)
    arc = first[parent] + np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts, counts)
    target = arcs.target[arc]
    costs = labels.costs[:, parent] + arcs.costs[:, arc]
    score = labels.score[parent] + arcs.score[arc]
    bound = np.full(len(arc), np.inf)
    for r in range(len(bounds.sigma)):
        mine = bounds.sigma[r] * score - bounds.mu[r] @ costs + there[r, target] + bounds.constant[r]
        keep = np.flatnonzero(mine >= needed[r])
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
    # Ties can leave most of the room empty above the level, or overfill it: share it out evenly.
    fewer = counts_at(high)
    if fewer.sum() > most:
        fewer = np.minimum(fewer, max(most // len(state), 1))
    else:
        fewer = np.maximum(fewer, np.minimum(counts_at(low), fewer + (most - int(fewer.sum())) // len(state)))
    cut = np.flatnonzero(fewer < counts)
    lost = float((top[cut] - loss[first[cut] + fewer[cut]]).max())
    return fewer, lost


def _undominated(labels: Labels, limits: Limits, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Indices of labels that no other label of the same state makes superfluous.

    Under an upper limit a smaller cost is better, under a lower limit a larger one, and only as far as it matters:
    costs from which every completion (`least` to `most` more, [costs, labels]) stays within the limit are equally good.
    """
    if len(labels.state) < 2:
        return np.arange(len(labels.state))
    keys = []
    for j in range(len(limits.upper)):
        cost = labels.costs[j]
        if np.isfinite(limits.upper[j]):
            keys.append(np.maximum(cost, limits.upper[j] - most[j]))
        if np.isfinite(limits.lower[j]):
            keys.append(np.maximum(-cost, least[j] - limits.lower[j]))
    keys = [k for k in keys if _varies(k, labels.state)]
    if len(keys) < 2:
        return _front(labels.state, labels.score, keys[0] if keys else np.zeros(len(labels.state)))
    keep = np.arange(len(labels.state))
    for lead in (-labels.bound, -labels.score, *keys):
        order = keep[np.lexsort((keep, lead[keep], labels.state[keep]))]
        keep = np.sort(order[~_beaten(labels.state[order], labels.score[order], [k[order] for k in keys])])
    return keep


def _varies(key: np.ndarray, group: np.ndarray) -> bool:
    """Whether the key differs within some group."""
    order = np.argsort(group, kind="stable")
    g, k = group[order], key[order]
    return bool(((g[1:] == g[:-1]) & (k[1:] != k[:-1])).any())


def _front(group: np.ndarray, score: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Of each group, the labels whose score no label of at most the same key reaches."""
    n = len(group)
    order = np.lexsort((-score, key, group))
    rank = np.unique(score, return_inverse=True)[1].reshape(-1)
    climb = group[order] * (n + 1) + rank[order]
    best = np.maximum.accumulate(climb)
    return np.sort(order[np.concatenate([[True], climb[1:] > best[:-1]])])


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


def _path(trail: list[tuple[np.ndarray, np.ndarray]], label: int) -> list[int]:
    path = []
    for parent, joint in reversed(trail):
        path.append(int(joint[label]))
        label = int(parent[label])
    return path[::-1]
