"""The rule by which slimming chooses among actions: least accuracy lost for the cost saved.

Two networks are never equally large, and accuracies on a few hundred images are coarse, so the rule says what happens
at the edges:

* An action that saves nothing (gain 0 or less) is no candidate, whatever its accuracy.
* A drop above 0 counts as drop / gain: the smallest loss for the gain first.
* A drop of 0 or less (the smaller network is as good or better) comes before every drop above 0 and counts as
  drop * gain: dividing would prefer, of two actions that gain accuracy, the one that saves less.
* Ties in this are broken by the rise of the cross-entropy, counted in the same way, then by the larger gain, then by
  the order in which the actions were given, which is the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

RankBy = Literal["accuracy", "loss"]


class Effect(NamedTuple):
    """What one action would do."""

    drop: float
    """Accuracy lost, a share of 1; negative where the smaller network is better."""
    rise: float
    """Cross-entropy gained, nats."""
    gain: float
    """Cost saved, in the units of the strategy; only actions with a gain above 0 are candidates."""


def price(loss: float, gain: float) -> float:
    """What an action costs for each unit of gain: smaller is better. `gain` must be above 0."""
    return loss / gain if loss > 0 else loss * gain


def ranked(effects: Sequence[Effect], by: RankBy = "accuracy") -> list[int]:
    """Positions of the candidates, the best first; those with no gain are left out.

    `by` "loss" ranks by the rise of the cross-entropy first, and breaks ties by accuracy.
    """

    def key(n: int) -> tuple[float, float, float, int]:
        e = effects[n]
        prices = (price(e.drop, e.gain), price(e.rise, e.gain))
        first, second = prices if by == "accuracy" else prices[::-1]
        return first, second, -e.gain, n

    return sorted((n for n, e in enumerate(effects) if e.gain > 0), key=key)
