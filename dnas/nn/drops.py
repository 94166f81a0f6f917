"""What a training pass leaves out at random: whole residual branches (stochastic depth, Huang et al. 2016) and inputs
of the classifier (dropout). Both belong to the arithmetic of a walk, so every block with a residual takes part.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from dnas.graph import Graph, graph_of
from dnas.graph.parts import Node
from dnas.ops.tensor import Tensor
from dnas.process.devices import Parts
from dnas.space.space import Space


class Places(NamedTuple):
    """Static facts of one space: paths of operators."""

    residuals: tuple[str, ...]
    """Sums of a block's branch and its input, in the order of the network."""
    classifiers: tuple[str, ...]
    """Layers whose results are the class scores, or make them up without parameters of their own."""


class Drops(NamedTuple):
    """Rates, and the key from which everything is drawn."""

    key: PRNGKeyArray
    places: Places
    branch: float = 0.0
    """Probability with which an image skips the last residual's branch; residual l of L has l/L of it."""
    classifier: float = 0.0
    """Probability with which an input of the classifier is zero."""
    parts: Parts | None = None
    """The batch is one of several parts: what is drawn for an image must not depend on how many there are."""

    def on(self, node: Node, inputs: Sequence[Array]) -> list[Array]:
        """The inputs of an operator, with what is dropped there."""
        found, branch = list(inputs), node.operator.branch
        if branch is not None:
            found[branch] = self.of_branch(found[branch], self.places.residuals.index(node.path))
        if node.path in self.places.classifiers:
            found[0] = self.of_classifier(found[0], node.path)
        return found

    def of_branch(self, x: Array, index: int) -> Array:
        """The branch of residual number `index` (from 0): zero for some images, scaled up for the others."""
        if not self.branch:
            return x
        rate = self.branch * (index + 1) / len(self.places.residuals)
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return self._dropped(x, index, rate, shape)

    def of_classifier(self, x: Array, path: str) -> Array:
        """The input of the classifier at `path`."""
        if not self.classifier:
            return x
        index = len(self.places.residuals) + sorted(self.places.classifiers).index(path)
        return self._dropped(x, index, self.classifier, x.shape)

    def _dropped(self, x: Array, index: int, rate: float, shape: tuple[int, ...]) -> Array:
        """x with entries (broadcast from `shape`) zero with probability `rate`, and the same mean."""
        key, parts = jax.random.fold_in(self.key, index), self.parts
        if parts is None:
            kept = jax.random.bernoulli(key, 1 - rate, shape)
        else:
            kept = parts.own(jax.random.bernoulli(key, 1 - rate, (shape[0] * parts.count, *shape[1:])))
        return jnp.where(kept, x / (1 - rate), 0)


@functools.lru_cache(maxsize=32)
def places(space: Space) -> Places:
    """Where something can be dropped."""
    graph = graph_of(space)
    residuals = (node.path for node in graph.nodes if node.operator.branch is not None)
    return Places(tuple(residuals), tuple(_givers(graph, graph.output)))


def _givers(graph: Graph, y: Tensor) -> Iterator[str]:
    """The operators with parameters that y was made by, with none between."""
    for node in graph.nodes:
        if node.output is y and not node.idle:
            if node.parameters:
                yield node.path
            else:
                for x in node.inputs:
                    yield from _givers(graph, x)
