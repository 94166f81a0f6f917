"""The fine stage: an adaptive genetic search for the pairs that the predictor values most (FBNetV3, section 3.3).

Generations descend from the best pairs so far by mutation and crossover, never outside the budgets. Where a generation
finds nothing better, more genes are drawn anew in the next one, else fewer. The search ends when it has found nothing
better for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dnas.joint.pairs import Pairs, Row, Rows, distinct
from dnas.search.genes import Genes

Score = Callable[[Rows], Float[np.ndarray, " n"]]
WIDER, NARROWER = 1.5, 0.8
RATES = 0.02, 0.5
"""Least and largest probability with which a gene is drawn anew."""


@dataclass(frozen=True)
class Plan:
    """How long it is searched."""

    population: int = 96
    parents: int = 24
    generations: int = 60
    patience: int = 10
    """Generations without anything better after which it ends."""


def searched(pairs: Pairs, begin: list[Row], score: Score, seed: int, plan: Plan = Plan()) -> list[tuple[Row, float]]:
    """The best pairs, best first, with their scores; `begin` are pairs within the budgets."""
    random, genes = np.random.default_rng([seed, 7]), Genes(pairs.space, pairs.walked)
    best = _best([], begin, score, plan.parents)
    known, rate, idle = set(begin), 0.2, 0
    for _ in range(plan.generations):
        parents = np.array([row for row, _ in best], int)
        children = _children(pairs, genes, parents, random, rate, 4 * plan.population)
        fresh = distinct(pairs.spelled(children[pairs.within(children)]), known)[: plan.population]
        known.update(fresh)
        before = best[0][1]
        best = _best(best, fresh, score, plan.parents)
        better = best[0][1] > before
        rate = float(np.clip(rate * (NARROWER if better else WIDER), *RATES))
        idle = 0 if better else idle + 1
        if idle >= plan.patience:
            break
    return best


def _best(found: list[tuple[Row, float]], rows: list[Row], score: Score, count: int) -> list[tuple[Row, float]]:
    """The best of all, best first; equal ones in the order of their genes."""
    more = zip(rows, score(np.array(rows, int)).tolist(), strict=True) if rows else ()
    return sorted([*found, *more], key=lambda pair: (-pair[1], pair[0]))[:count]


def _children(
    pairs: Pairs, genes: Genes, parents: Rows, random: np.random.Generator, rate: float, count: int
) -> Rows:  # fmt: skip
    """One half copies of parents, the other children of two, each gene from either; then genes are drawn anew.

    Genes that are idle in a parent, such as those of a block that it has not, are drawn: a child may have the block.
    """
    idle = np.zeros(parents.shape, bool)
    idle[:, : pairs.split] = genes.idle(parents[:, : pairs.split])
    mothers, fathers = random.integers(0, len(parents), (2, count))
    fathers[: count // 2] = mothers[: count // 2]
    either = np.where(random.random((count, len(pairs.sizes))) < 0.5, mothers[:, None], fathers[:, None])
    each = np.arange(len(pairs.sizes))
    anew = idle[either, each] | (random.random(either.shape) < rate)
    return np.where(anew, random.integers(0, pairs.sizes, either.shape), parents[either, each])
