"""Sums of products of quantities as arrays: each factor once, and for each product the positions of its factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dnas.cost.ledger import Cost
from dnas.space.quantity import Quantity


class Factored(NamedTuple):
    """Products of several costs, in one list."""

    factors: list[Quantity]
    """Those that are not constant, no two equal."""
    coefficients: Float[np.ndarray, " products"]
    owner: Int[np.ndarray, " products"]
    """The cost to which a product belongs."""
    terms: Int[np.ndarray, "products longest"]
    """Positions of a product's factors; `len(factors)`, for a factor that is always 1, fills up short products."""


def factored(costs: Sequence[Cost], by_sizes: bool = False) -> Factored:
    """The products of all costs; `by_sizes`: with each size as a factor, though several depend on one choice."""
    known: dict[tuple, int] = {}
    factors: list[Quantity] = []
    rows: list[list[int]] = []
    coefficients: list[float] = []
    owners: list[int] = []
    for owner, cost in enumerate(costs):
        for product in cost:
            coefficient, row = 1.0, []
            for factor in product.parts if by_sizes else product.factors:
                if factor.is_constant:
                    coefficient *= float(factor.value)
                    continue
                key = factor.identity
                if key not in known:
                    known[key] = len(factors)
                    factors.append(factor)
                row.append(known[key])
            rows.append(row)
            coefficients.append(coefficient)
            owners.append(owner)
    longest = max((len(row) for row in rows), default=0)
    filled = [[*row, *[len(factors)] * (longest - len(row))] for row in rows]
    return Factored(
        factors,
        np.array(coefficients, np.float64),
        np.array(owners, int),
        np.array(filled, int).reshape(len(rows), longest),
    )
