"""The loss of theta: cross-entropy combined with latency.

The budgets take no part in it: `dnas.search.projection` keeps them.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

LossForm = Literal["log_of_power", "power_of_log", "additive"]


def combine(
    cross_entropy: Float[Array, ""], latency: Float[Array, ""], form: LossForm, alpha: float, beta: float
) -> Float[Array, ""]:
    """Cross-entropy and latency in the published forms (FBNet, Wu et al. 2019, eq. 2, and its re-implementations).

    `log_of_power`: CE * alpha * log(LAT^beta); `power_of_log`: CE * alpha * log(LAT)^beta, the paper's;
    `additive`: CE + alpha * log(LAT^beta). `latency` must be at least e, so that the logarithm is at least 1; see
    `scaled`.
    """
    log_latency = jnp.log(latency)
    if form == "power_of_log":
        return cross_entropy * alpha * log_latency**beta
    weighted = alpha * beta * log_latency
    return cross_entropy + weighted if form == "additive" else cross_entropy * weighted


def scaled(cost: Float[Array, ""], smallest: float) -> Float[Array, ""]:
    """The cost in units of smallest / e, and at least e, so that its logarithm in `combine` is at least 1.

    Where the smallest cost is 0 there is no such unit, and e is added.
    """
    return jnp.maximum(cost * (jnp.e / smallest), jnp.e) if smallest > 0 else cost + jnp.e


def violations(expected: Float[Array, " budgets"], limits: Float[Array, " budgets"]) -> Float[Array, " budgets"]:
    """u_j = log E[cost_j] - log B_j: positive above the budget."""
    return jnp.log(expected) - jnp.log(limits)
