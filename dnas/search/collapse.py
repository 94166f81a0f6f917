"""Remedies against collapse: choices that settle on what learns fastest - skips above all - before weights tell more.

Each has a name, a rule that says when it acts, and a count of the steps in which it did:

* `weight_warm_up`: in the first `warm_up` share of a run only the weights learn;
* `skip_guard`: the mean share of skipped blocks is kept at most at `skip_limit` (`dnas.search.projection`);
* `temperature_floor`: while the choices' mean entropy, as a share of the even distribution's, is below `early` times
  the share of the search that is left, the temperature stays at least at `temperature_floor`, so that every option
  goes on being tried.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dnas.nn.gates import Layout, Theta, entropy
from dnas.search.settings import Settings


class Temperature(NamedTuple):
    """What the schedule says, and what the rule of the floor looks at."""

    scheduled: Float[Array, ""] | np.float32
    left: Float[Array, ""] | np.float32
    """Share of the search that is left."""


class Acted(NamedTuple):
    """Numbers of theta steps in which the remedies of the search acted."""

    skip_guard: Int[Array, ""]
    temperature_floor: Int[Array, ""]


def none_acted() -> Acted:
    """Before the first step."""
    return Acted(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def floored(layout: Layout, theta: Theta, t: Temperature, s: Settings) -> tuple[Float[Array, ""], Array]:
    """The temperature, and whether the floor holds it up."""
    if not layout.choices:
        return jnp.asarray(t.scheduled), jnp.asarray(False)
    spread = jnp.mean(jax.lax.stop_gradient(entropy(layout, theta)))
    early = (spread < s.early * t.left) & (t.scheduled < s.temperature_floor)
    return jnp.where(early, s.temperature_floor, t.scheduled), early


def counted(acted: Acted, guard: Array, held: Array) -> Acted:
    """One theta step more."""
    return Acted(acted.skip_guard + (guard > 0).astype(jnp.int32), acted.temperature_floor + held.astype(jnp.int32))


def report(acted: Acted, warm_up: int) -> dict[str, int]:
    """Steps in which each remedy acted, by name."""
    return {"weight_warm_up": warm_up, **{name: int(count) for name, count in acted._asdict().items()}}
