"""The predictor of accuracies (FBNetV3, Dai et al. 2021, section 3.2): an architecture's embedding and a recipe.

An encoder maps an architecture to an embedding. It is first trained under a proxy head that predicts multiply-adds and
parameters, of which any number can be counted. A head then predicts accuracy from embedding and recipe: first the head
alone learns, then everything, with a rate that falls. The loss is Huber's. Members of an ensemble differ in their first
weights and in how much each training counts for them; their spread is the uncertainty.

Everything follows from the seed. Programs have one shape and are compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from dnas.joint.encoding import Encoding
from dnas.joint.pairs import Pairs, Row, Rows

LOWEST = 2.0
"""Standard deviations below the median under which an accuracy counts as that low: how far a training that fails falls
says nothing of the others."""


@dataclass(frozen=True)
class Sizes:
    """Of the predictor and of its training."""

    members: int = 6
    hidden: int = 48
    embedding: int = 12
    counted: int = 2048
    """Networks whose costs the encoder learns first; 0 for no such beginning."""
    pretraining: int = 300
    """Steps on costs."""
    head: int = 150
    """Steps of the head alone."""
    all: int = 500
    """Steps of everything."""
    rate: float = 0.01
    decay: float = 0.01
    """Weight decay."""


class Layer(NamedTuple):
    """A linear layer."""

    weights: Array
    shift: Array


class Weights(NamedTuple):
    """Of one member."""

    encoder: tuple[Layer, ...]
    proxy: Layer
    head: tuple[Layer, ...]


class Data(NamedTuple):
    """What a member learns from, padded to one length: rows of weight 0 do not count."""

    architecture: Float[np.ndarray, "n a"]
    recipe: Float[np.ndarray, "n r"]
    target: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, "members n"]


class Scale(NamedTuple):
    """Accuracies are learned as (accuracy - middle) / spread."""

    middle: float
    spread: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A predictor that has learned; `predict` gives the accuracies that each member expects."""

    predictor: Predictor
    weights: Weights
    scale: Scale

    def predict(self, rows: Rows) -> Float[np.ndarray, "members n"]:
        """Accuracies of pairs."""
        members = range(self.predictor.sizes.members)
        return np.stack([self.member(number, rows) for number in members])

    def member(self, number: int, rows: Rows) -> Float[np.ndarray, " n"]:
        """Accuracies of pairs by one member."""
        a, r = self.predictor.features(rows)
        values = _answer(self.members[number], a, r, np.tanh).astype(np.float64)
        return values * self.scale.spread + self.scale.middle

    @cached_property
    def members(self) -> list[Weights]:
        """The weights of each, as numpy arrays: a genetic search asks for few pairs at a time, very often."""
        held = jax.device_get(self.weights)
        return [jax.tree.map(lambda w, n=n: w[n], held) for n in range(self.predictor.sizes.members)]


class Programs(NamedTuple):
    """What is compiled."""

    pretrain: Callable[..., Any]
    fit: Callable[..., Any]


class Predictor:
    """Of the pairs of a search; at most `capacity` trainings are learned from."""

    def __init__(self, pairs: Pairs, seed: int, capacity: int, sizes: Sizes = Sizes()):
        self.sizes, self.seed, self.capacity = sizes, seed, capacity
        self.split = pairs.split
        self.encodings = Encoding(pairs.space.choices), Encoding(pairs.recipe_choices)
        self.programs = _programs(sizes)
        keys = jax.random.split(jax.random.key(seed), sizes.members)
        a, r = (encoding.width for encoding in self.encodings)
        first = jax.vmap(partial(_fresh, sizes, a, r))(keys)
        self.first = self._knowing_costs(pairs, first) if sizes.counted and pairs.split else first

    def features(self, rows: Rows) -> tuple[Float[np.ndarray, "n a"], Float[np.ndarray, "n r"]]:
        """Of the architectures and of the recipes."""
        return self.encodings[0](rows[:, : self.split]), self.encodings[1](rows[:, self.split :])

    def fit(self, rows: list[Row], accuracies: list[float]) -> Fitted:
        """Learns from trainings, anew from the first weights."""
        target = np.array(accuracies)
        scale = scale_of(target)
        target = np.maximum((target - scale.middle) / scale.spread, -LOWEST)
        a, r = self.features(np.array(rows, int))
        counts = np.random.default_rng([self.seed, 2]).exponential(1.0, (self.sizes.members, self.capacity))
        counts[:, len(rows) :] = 0  # each training's share in each member, whichever others there are
        pad = partial(_padded, count=self.capacity)
        data = Data(pad(a), pad(r), pad(target).astype(np.float32), counts.astype(np.float32))
        weights = self.programs.fit(self.first, data.architecture, data.recipe, data.target, data.weight)
        return Fitted(self, weights, scale)

    def costs(self, rows: Rows) -> Float[np.ndarray, "members n 2"]:
        """What proxy heads say of multiply-adds and parameters: logarithms, in standard deviations from the mean."""
        a, held = self.features(rows)[0], jax.device_get(self.first)
        members = (jax.tree.map(lambda w, n=n: w[n], held) for n in range(self.sizes.members))
        return np.stack([_through((m.proxy,), _embedded(m, a, np.tanh), np.tanh) for m in members])

    def _knowing_costs(self, pairs: Pairs, first: Weights) -> Weights:
        """The weights after the training of encoder and proxy head on counted networks of the space."""
        random = np.random.default_rng([self.seed, 3])
        rows = pairs.spelled(random.integers(0, pairs.sizes, (self.sizes.counted, len(pairs.sizes))))
        costs = np.log(np.maximum(pairs.costs(rows), 1.0))
        costs = (costs - costs.mean(axis=0)) / np.maximum(costs.std(axis=0), 1e-6)
        return self.programs.pretrain(first, self.features(rows)[0], costs.astype(np.float32))


@cache
def _programs(sizes: Sizes) -> Programs:
    """The same ones for every predictor of these sizes, so that none is compiled twice."""
    return Programs(
        jax.jit(jax.vmap(partial(_pretrained, sizes), in_axes=(0, None, None))),
        jax.jit(jax.vmap(partial(_fitted, sizes), in_axes=(0, None, None, None, 0))),
    )


def scale_of(accuracies: Float[np.ndarray, " n"]) -> Scale:
    """Median and a spread that a few failures do not widen: that of the better half."""
    middle = float(np.median(accuracies))
    better = accuracies[accuracies >= middle]
    return Scale(middle, max(float(np.sqrt(np.mean((better - middle) ** 2))), 1e-4))


def _padded(values: Float[np.ndarray, "n ..."], count: int) -> Float[np.ndarray, "count ..."]:
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]), values.dtype)])


def _layer(key: PRNGKeyArray, inputs: int, outputs: int) -> Layer:
    return Layer(jax.random.normal(key, (inputs, outputs)) * (1 / max(inputs, 1)) ** 0.5, jnp.zeros(outputs))


def _fresh(sizes: Sizes, architecture: int, recipe: int, key: PRNGKeyArray) -> Weights:
    keys = jax.random.split(key, 6)
    encoder = _layer(keys[0], architecture, sizes.hidden), _layer(keys[1], sizes.hidden, sizes.embedding)
    head = (
        _layer(keys[2], sizes.embedding + recipe, sizes.hidden), _layer(keys[3], sizes.hidden, sizes.hidden),
        _layer(keys[4], sizes.hidden, 1),
    )  # fmt: skip
    return Weights(encoder, _layer(keys[5], sizes.embedding, 2), head)


def _through(layers: tuple[Layer, ...], x: Any, tanh: Any = jnp.tanh) -> Any:
    """A smooth step between layers, none after the last; `tanh` is numpy's or jax's, as the arrays are."""
    for layer in layers[:-1]:
        x = tanh(x @ layer.weights + layer.shift)
    return x @ layers[-1].weights + layers[-1].shift


def _embedded(weights: Weights, architecture: Any, tanh: Any = jnp.tanh) -> Any:
    return tanh(_through(weights.encoder, architecture, tanh))


def _answer(weights: Weights, architecture: Any, recipe: Any, tanh: Any = jnp.tanh) -> Any:
    """Scaled accuracies [n]."""
    embedded, first = _embedded(weights, architecture, tanh), weights.head[0]
    size = embedded.shape[1]
    both = embedded @ first.weights[:size] + recipe @ first.weights[size:] + first.shift
    return _through(weights.head[1:], tanh(both), tanh)[:, 0]


def _descended(
    loss: Callable[[Any], Array], start: Any, rule: optax.GradientTransformation, steps: int
) -> Any:  # fmt: skip
    """Whatever `loss` is of, after so many steps."""

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        value, state = carry
        updates, state = rule.update(jax.grad(loss)(value), state, value)
        return (optax.apply_updates(value, updates), state), None

    return jax.lax.scan(step, (start, rule.init(start)), None, length=steps)[0][0]


def _pretrained(sizes: Sizes, weights: Weights, architecture: Array, costs: Array) -> Weights:
    """Encoder and proxy head learn the costs."""

    def loss(parts: tuple[tuple[Layer, ...], Layer]) -> Array:
        own = weights._replace(encoder=parts[0], proxy=parts[1])
        found = _through((own.proxy,), _embedded(own, architecture))
        return jnp.mean(optax.losses.huber_loss(found, costs))

    rate = optax.cosine_decay_schedule(sizes.rate, sizes.pretraining)
    encoder, proxy = _descended(loss, (weights.encoder, weights.proxy), optax.adam(rate), sizes.pretraining)
    return weights._replace(encoder=encoder, proxy=proxy)


def _fitted(
    sizes: Sizes, weights: Weights, architecture: Array, recipe: Array, target: Array, count: Array
) -> Weights:  # fmt: skip
    """The head learns accuracies, then everything does."""

    def loss(weights: Weights) -> Array:
        errors = optax.losses.huber_loss(_answer(weights, architecture, recipe), target)
        return jnp.sum(count * errors) / jnp.sum(count)

    def of_head(head: tuple[Layer, ...]) -> Array:
        return loss(weights._replace(head=head))

    head = _descended(of_head, weights.head, optax.adamw(sizes.rate, weight_decay=sizes.decay), sizes.head)
    falling = optax.cosine_decay_schedule(sizes.rate, sizes.all)
    rule = optax.adamw(falling, weight_decay=sizes.decay)
    return _descended(loss, weights._replace(head=head), rule, sizes.all)
