"""What a training pass leaves out at random: whole residual branches (stochastic depth, Huang et al. 2016) and inputs
of the classifier (dropout). Both belong to the arithmetic of a walk, so every block with a residual takes part.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from dnas.network import Feature, Network, NoValues
from dnas.space.quantity import Quantity
from dnas.space.space import Space


class Places(NamedTuple):
    """Static facts of one space."""

    residuals: int
    """Sums of a block's branch and its input, in the order of the network."""
    classifiers: frozenset[str]
    """Paths of the linear layers that give class scores."""


class Drops(NamedTuple):
    """Rates, and the key from which everything is drawn."""

    key: PRNGKeyArray
    places: Places
    branch: float = 0.0
    """Probability with which an image skips the last residual's branch; residual l of L has l/L of it."""
    classifier: float = 0.0
    """Probability with which an input of the classifier is zero."""

    def of_branch(self, x: Array, index: int) -> Array:
        """The branch of residual number `index` (from 0): zero for some images, scaled up for the others."""
        if not self.branch:
            return x
        rate = self.branch * (index + 1) / self.places.residuals
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return _dropped(x, jax.random.fold_in(self.key, index), rate, shape)

    def of_classifier(self, x: Array, path: str) -> Array:
        """The input of the linear layer at `path`."""
        if not self.classifier or path not in self.places.classifiers:
            return x
        index = self.places.residuals + sorted(self.places.classifiers).index(path)
        return _dropped(x, jax.random.fold_in(self.key, index), self.classifier, x.shape)


@functools.lru_cache(maxsize=32)
def places(space: Space) -> Places:
    """Where something can be dropped, from a walk without values."""
    notes: Any = _Notes(space.classes)
    Network(notes).walk(space.nodes, Feature(None, Quantity.constant(space.channels), space.resolution))
    return Places(notes.residuals, frozenset(notes.classifiers))


class _Notes(NoValues):
    """Counts what it is asked for."""

    def __init__(self, classes: int):
        self.classes, self.residuals, self.classifiers = classes, 0, set[str]()

    def residual(self, *_: Any) -> None:
        self.residuals += 1

    def linear(self, path: str, x: Feature, y: Feature, bias: bool) -> None:
        if y.channels.is_constant and y.channels.value == self.classes:
            self.classifiers.add(path)


def _dropped(x: Array, key: PRNGKeyArray, rate: float, shape: tuple[int, ...]) -> Array:
    """x with entries (broadcast from `shape`) zero with probability `rate`, and the same mean."""
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, x / (1 - rate), 0)
