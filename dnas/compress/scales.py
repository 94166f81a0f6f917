"""Steps of quantisers: searched by similarity and ranking (Liu et al. 2021, "Post-training quantization for vision
transformer"), or by each array alone (min-max, percentile, mse)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.compress.calibration import Factors, Form, Seen
from dnas.maths.quantize import bounds, pearson, ranking_loss, whole

METHODS = ("similarity", "min-max", "percentile", "mse")
CANDIDATES = np.linspace(0.5, 1.2, 100)
"""Of the step that just holds the largest number: their alpha, beta and number."""
ROUNDS = 20
"""At most, of the two searches in turn."""
GAMMA = 0.1
"""Weight of the ranking loss."""
PAIRS = 64
"""Pairs of each row of scores whose order is looked at, drawn once."""
PERCENTILE = 99.9


class Steps(NamedTuple):
    """Of a product's two factors; an array where channels have their own."""

    first: np.ndarray
    second: np.ndarray


def alone(method: str, of: Seen, bits: int) -> np.ndarray:
    """The step of one array by itself: what just holds its largest magnitude, the percentile of magnitudes, or the
    candidate of least squared error. Similarity begins with the first."""
    full = float(bounds(bits)[1])
    axes = tuple(range(of.sample.ndim - 1)) if of.most.ndim else None
    match method:
        case "percentile":
            step = np.percentile(np.abs(of.sample), PERCENTILE, axis=axes) / full
        case "mse":
            start = _positive(of.most / full)
            step = start * CANDIDATES[int(np.argmin(_errors(of.sample, start, bits, jnp.asarray(CANDIDATES))))]
        case _:
            step = of.most / full
    return _positive(step)


def _positive(step: np.ndarray) -> np.ndarray:
    """1 in the place of 0: of what is always 0, any step is right."""
    step = np.asarray(step, np.float32)
    return np.where(step > 0, step, np.float32(1))


@jax.jit
def _errors(sample: Array, start: Array, bits: Any, candidates: Array) -> Array:
    def of(factor: Array) -> Array:
        return jnp.sum(jnp.square(whole(sample, start * factor, bits) * start * factor - sample))

    return jax.lax.map(of, candidates)


class Search:
    """Steps of products by similarity and, of scores of attention, ranking. Equal products share a compiled program."""

    def __init__(self, seed: int):
        self._seed = seed
        self._scans: dict[str, Callable[..., Array]] = {}

    def steps(self, of: Factors, start: Steps, bits: int, ranked: bool) -> Steps:
        """First the second factor's step with the first's fixed, then the other way, until neither changes."""
        scan = self._scan(of, ranked)
        at: list[int | None] = [None, None]
        for _ in range(ROUNDS):
            before = list(at)
            for place in (1, 0):
                factors = [np.full(len(CANDIDATES), 1.0 if n is None else CANDIDATES[n]) for n in at]
                factors[place] = CANDIDATES
                at[place] = int(np.argmax(scan(of.x, of.w, *start, *map(jnp.asarray, factors), bits)))
            if at == before:
                break
        first, second = (step if n is None else step * CANDIDATES[n] for step, n in zip(start, at, strict=True))
        return Steps(np.asarray(first, np.float32), np.asarray(second, np.float32))

    def _scan(self, of: Factors, ranked: bool) -> Callable[..., Array]:
        traced = jax.make_jaxpr(of.form)(of.x, of.w)
        held = b"".join(np.asarray(value).tobytes() for value in traced.consts)
        key = hashlib.sha256(f"{traced.jaxpr} {ranked}".encode() + held).hexdigest()
        if key not in self._scans:
            self._scans[key] = jax.jit(partial(_objectives, of.form, self._seed if ranked else None))
        return self._scans[key]


def _objectives(
    form: Form, seed: int | None, x: Array, w: Array, first: Array, second: Array, by_first: Array, by_second: Array,
    bits: Any,
) -> Array:  # fmt: skip
    """Of each pair of steps: the mean over images of the correlation, less the ranking loss where there is a seed for
    its pairs. One after another: side by side they would hold a result each."""
    wanted = form(x, w)
    pairs = None if seed is None else _pairs(seed, wanted.shape[-1])

    def of(factors: tuple[Array, Array]) -> Array:
        steps = (step * factor for step, factor in zip((first, second), factors, strict=True))
        found = form(*(whole(y, step, bits) * step for y, step in zip((x, w), steps, strict=True)))
        score = pearson(wanted, found)
        return jnp.mean(score if pairs is None else score - GAMMA * ranking_loss(wanted, found, pairs))

    return jax.lax.map(of, (by_first.astype(jnp.float32), by_second.astype(jnp.float32)))


def _pairs(seed: int, keys: int) -> tuple[Array, Array]:
    first, second = np.triu_indices(keys, 1)
    taken = np.random.default_rng(seed).permutation(len(first))[:PAIRS]
    return jnp.asarray(first[taken]), jnp.asarray(second[taken])
