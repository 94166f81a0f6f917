"""How many architectures a space holds, and the range of what they cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dnas.cost import ledger
from dnas.cost.ledger import COSTS, Cost
from dnas.errors import InputError, UserError
from dnas.graph import Graph, graph_of
from dnas.solve.constrained import largest, smallest
from dnas.solve.elimination import log_total
from dnas.solve.relevance import size_factors
from dnas.space.space import Space

RULE = (
    "size = number of distinct architectures that satisfy the space's constraints, exact: choices that do not matter "
    "(in a branch not taken, a block not present, a squeeze-excite switched off) and options that give the same "
    "network count once."
)
MEAN = "mean = exact mean over networks whose choices are drawn uniformly and independently, constraints apart."


def described(space: Space, *, choices: bool = False) -> dict[str, Any]:
    """Size and range of a space as plain data."""
    network = graph_of(space)
    result: dict[str, Any] = {
        "name": space.name,
        "about": space.about,
        "choices": len(space.choices),
        "size_log10": round(size_log10(space, network), 6),
        "resolution": space.resolution.values(),
    }
    if choices:
        result["options"] = {c.name: list(c.options) for c in space.choices}
    for name, cost in COSTS.items():
        least, most = extremes(space, cost(network.ledger))
        uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
        mean = float(ledger.mean(cost(network.ledger), uniform))
        result[name.lower()] = {"smallest": least, "mean": round(mean, 1), "largest": most}
    return result


def size_log10(space: Space, network: Graph | None = None) -> float:
    """log10 of the number of distinct architectures; see `RULE`."""
    return log_total(size_factors(space, network), space.constraints) / math.log(10)


def extremes(space: Space, cost: Cost) -> tuple[float, float]:
    """The smallest and the largest cost of any architecture of the space, exact."""
    merged = ledger.merged(cost)
    try:
        return smallest(merged, space.constraints)[0], largest(merged, space.constraints)[0]
    except UserError as error:
        raise InputError(space.source, str(error)) from error
