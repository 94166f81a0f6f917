"""The most probable architecture within all budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dnas.cost import ledger
from dnas.cost.ledger import Cost
from dnas.graph import Graph
from dnas.solve.constrained import most_probable
from dnas.solve.elimination import optimum
from dnas.solve.relevance import score_factors
from dnas.space.space import Space

LOWEST_LOG = -60.0
"""Floor of a log-probability: below, float32 theta says no more than "never"."""


class Derivation(NamedTuple):
    """An architecture within the budgets, and what it was taken instead of.

    `log_probability` and `argmax_log_probability` are of architectures: choices that do not matter do not count.
    `gap` is certified, in nats: no network within the budgets is more probable by more than that.
    """

    assignment: dict[str, int]
    log_probability: float
    gap: float
    costs: tuple[float, ...]
    filled: bool
    note: str
    argmax: dict[str, int]
    argmax_log_probability: float
    argmax_costs: tuple[float, ...]


def derive(
    space: Space, walked: Graph, theta: Mapping[str, np.ndarray], costs: Sequence[Cost], limits: Sequence[float],
    *, fill: float = 0.97,
) -> Derivation:  # fmt: skip
    """Argmax of the probability of an architecture, subject to every cost at most its limit.

    Args:
      theta: logits of each choice, by name.
      costs: one sum of products for each limit.
      fill: least share of one limit that is used; 0 for upper limits alone.

    Raises `UserError` where the limits cannot be met.
    """
    log_p = {name: np.maximum(_log_softmax(np.asarray(v, np.float64)), LOWEST_LOG) for name, v in theta.items()}
    scores = score_factors(space, log_p, walked)
    plain_score, plain = optimum(scores, "max", space.constraints)
    found = most_probable(scores, costs, limits, fill=fill, constraints=space.constraints)
    return Derivation(
        found.assignment, found.score, found.gap, found.costs, found.filled, found.note, plain, plain_score,
        tuple(ledger.at(cost, plain) for cost in costs),
    )  # fmt: skip


def log_probabilities(probabilities: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logarithms of each choice's probabilities, by name, at least `LOWEST_LOG`."""
    with np.errstate(divide="ignore"):
        return {name: np.maximum(np.log(np.asarray(p, np.float64)), LOWEST_LOG) for name, p in probabilities.items()}


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
