"""The loss of theta: cross-entropy combined with latency, plus multipliers that hold the budgets.

    L(theta) = combine(CE, LAT) + sum_j lambda_j u_j - mu max_j u_j,    u_j = log E[cost_j] - log B_j

The first term uses the drawn gates, as FBNet does; u_j uses p = softmax(theta), so the budgets speak of the mean cost
of sampled networks. lambda_j >= 0 pushes a cost down to its budget; mu >= 0 pushes the costs up until one budget is
used, so that the expected cost ends at the budget whatever alpha and beta are. Both follow by dual ascent, and so does
the skip guard, a multiplier on the share of skipped blocks beyond a limit.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

LossForm = Literal["log_of_power", "power_of_log", "additive"]

FILLED = 0.985
"""Share of a budget that the expected cost is pushed up to."""


class Multipliers(NamedTuple):
    """Dual variables, all at least 0."""

    down: Float[Array, " budgets"]
    up: Float[Array, ""]
    guard: Float[Array, ""]
    """Against skip collapse; stays 0 while the share of skipped blocks is below its limit."""


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
    """Cost in units of (smallest reachable cost)/e: at least e, whatever the unit; nothing below costs nothing."""
    return jnp.maximum(cost * (jnp.e / smallest), jnp.e) if smallest > 0 else cost + jnp.e


def violations(expected: Float[Array, " budgets"], limits: Float[Array, " budgets"]) -> Float[Array, " budgets"]:
    """u_j = log E[cost_j] - log B_j: positive above the budget."""
    return jnp.log(expected) - jnp.log(limits)


def budget_term(u: Float[Array, " budgets"], multipliers: Multipliers, penalty: float, fill: bool) -> Float[Array, ""]:
    """sum_j lambda_j u_j - mu max_j u_j with the quadratic terms of the augmented Lagrangian."""
    down = jnp.sum(multipliers.down * u + 0.5 * penalty * jnp.square(jnp.maximum(u, 0)))
    if not fill:
        return down
    lack = jnp.log(FILLED) - jnp.max(u)
    return down + multipliers.up * lack + 0.5 * penalty * jnp.square(jnp.maximum(lack, 0))


def guard_term(excess: Float[Array, ""], multipliers: Multipliers, penalty: float) -> Float[Array, ""]:
    """The skip guard: pushes back where the expected share of skipped blocks exceeds its limit by `excess`."""
    return multipliers.guard * excess + 0.5 * penalty * jnp.square(jnp.maximum(excess, 0))


def ascend(
    u: Float[Array, " budgets"], excess: Float[Array, ""], multipliers: Multipliers, rate: float, fill: bool
) -> Multipliers:
    """One step of dual ascent on the violations and on the skip guard."""
    up = multipliers.up
    if fill and len(u):
        up = jnp.maximum(up + rate * (jnp.log(FILLED) - jnp.max(u)), 0)
    guard = jnp.maximum(multipliers.guard + rate * excess, 0)
    return Multipliers(jnp.maximum(multipliers.down + rate * u, 0), up, guard)
