"""The budgets as a projection: gates are drawn from the distribution nearest to theta's that keeps them in the mean.

    q = argmin KL(q || softmax(theta))   subject to   u_j(q) <= 0            (I-projection, Csiszar 1975)
    q ~ exp(theta - sum_j lambda_j du_j/dq),   lambda_j >= 0,   lambda_j u_j = 0

u_j = log E[cost_j] - log B_j for the budgets; the skip guard, mean share of skipped blocks less its limit, is one more
constraint. What costs much is thus made rarer exactly as far as the budgets ask, at every step, while theta learns from
the data alone what is worth its cost: no weight between the two has to be chosen.

What pulls, du/dq, stays throughout one projection: E[cost_j] then falls steadily with lambda_j, and the multipliers are
found by Newton steps, taken for each constraint by itself: du_j/dlambda_j = -Var_q(du_j/dq), the variance of what pulls
over options drawn from q, summed over choices. From one projection to the next, between which theta hardly moves, it
follows by halves. Were it followed at once, logits would jump to and fro where a cost is pushed up to its budget: what
makes costs rise makes their slopes steeper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dnas.nn.gates import Gates, Layout, Theta, probabilities

NEWTON_STEPS = 6
"""In one projection, which begins where the last one ended."""

MOST_NATS = 1000.0
"""By which one constraint moves a logit at most: where constraints contradict each other none grows for ever. An option
that costs little more than another is moved by a small part of that, so it is far above what theta reaches."""


class Projected(NamedTuple):
    """Logits of q, and the multipliers that make them from theta."""

    logits: Theta
    multipliers: Float[Array, " constraints"]
    pull: Float[Array, "constraints choices options"]
    """What a multiplier takes from the logits: du/dq without each choice's mean, as it was in the last projections."""


Constraints = Callable[[Gates], Float[Array, " constraints"]]
"""u of a distribution: positive where a constraint is broken."""


def unconstrained(theta: Theta, constraints: int) -> Projected:
    """Where projections begin."""
    return Projected(theta, jnp.zeros(constraints), jnp.zeros((constraints, *theta.shape)))


def project(
    layout: Layout, theta: Theta, last: Projected, constraints: Constraints, equal: Bool[np.ndarray, " constraints"]
) -> Projected:
    """A few Newton steps from the last projection.

    Among the constraints marked `equal` the one nearest to being broken holds as an equality: costs are pushed up to
    it where they are below.
    """
    real = jnp.asarray(layout.real)
    # Constraints that pull alike add up: each by itself takes its share of the way.
    share = 1 / max(1, len(equal))

    def centred(slopes: Array, q: Array) -> Array:
        return jnp.where(real, slopes - jnp.sum(q * slopes, -1, keepdims=True), 0)

    q = probabilities(layout, last.logits).values
    slopes = jax.jacrev(lambda values: constraints(Gates(values, layout)))(q)
    pull = (last.pull + centred(slopes, q)) / 2

    def logits_at(multipliers: Array) -> Theta:
        return theta - jnp.tensordot(multipliers, pull, 1)

    def step(_, multipliers: Array) -> Array:
        q = probabilities(layout, logits_at(multipliers))
        u, felt = constraints(q), centred(pull, q.values)
        variance = jnp.sum(q.values * jnp.square(felt), (1, 2))
        # A decided q hardly varies, and Newton's step would throw it about: no step moves a logit by more than 1.
        largest = 1 / jnp.maximum(jnp.max(jnp.abs(felt), (1, 2), initial=0), 1e-6)
        move = jnp.clip(share * u / jnp.maximum(variance, 1e-6), -largest, largest)
        nearest = jnp.arange(len(equal)) == jnp.argmax(jnp.where(equal, u, -jnp.inf))
        least = jnp.where(nearest & jnp.asarray(equal), -MOST_NATS * largest, 0)
        return jnp.clip(multipliers + move, least, MOST_NATS * largest)

    multipliers = jax.lax.fori_loop(0, NEWTON_STEPS, step, last.multipliers)
    return Projected(logits_at(multipliers), multipliers, pull)
