"""Tokens chosen block by block, from the last to the first (patch slimming, Tang et al. 2022, algorithm 1).

A block keeps what the next one keeps and the most significant of its other tokens. The error of a choice is that of
the following block's tokens, against the network in which nothing more is dropped: the sum of squares of the difference
over that of the tokens, of those that are left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.compress.significance import carried, significance
from dnas.compress.token_layers import Masks, Seen, Tokens
from dnas.data.preprocess import Preprocessing, prepare

BATCH = 64
"""Images of a step, and those that significance and errors are measured on."""
STEP = 10 / 197
"""Share of the tokens that is switched on at a time: ten of DeiT's."""


class Choice(NamedTuple):
    """What one block came to."""

    mask: np.ndarray
    error: float
    """After tuning."""
    untuned: float
    """Error of the same tokens before it."""
    tried: int
    """Choices of tokens that were measured."""


class Blocks:
    """A network, images to measure on and to tune with, and parameters that change block by block."""

    def __init__(
        self, tokens: Tokens, values: dict[str, Array], images: np.ndarray, preprocessing: Preprocessing, seed: int
    ):
        self.tokens, self.layers, self.values, self.seed = tokens, tokens.layers, dict(values), seed
        self.whole, self.preprocessing = tokens.kept(), preprocessing
        self.first = dict(values)
        """Of the network that errors are measured against."""
        count = max(1, min(BATCH, len(images) // 4))
        self.measured, self.tuning = self._prepared(images[:count]), images[count:]
        self.seen = tokens.seen(self.first, self.measured, self.whole)
        self.carried, self.significance = jax.jit(carried), jax.jit(significance)
        self.inputs: tuple[int, list[Seen]] = (-1, [])
        """Of the layer that is tuned: its number, and batches of what it reads and should give."""
        self.last, self.fixed = self._last()

    def _prepared(self, images: np.ndarray) -> Array:
        return prepare(images, self.preprocessing.taken_at(self.tokens.space.resolution.value))

    def _last(self) -> tuple[np.ndarray, bool]:
        """The least that the last block keeps, and whether it keeps no more: where the classifier reads learned tokens
        alone, those are all."""
        read = np.asarray(self.tokens.read(self.first, self.measured[:4], self.whole))
        fixed = not np.any(read > self.learned)
        return (self.learned, True) if fixed else (self._with_patch(len(self.layers) - 1, {}, self.learned), False)

    @property
    def learned(self) -> np.ndarray:
        """The mask of the learned tokens alone."""
        return (np.arange(self.tokens.count) < self.tokens.learned).astype(np.float32)

    def _with_patch(self, n: int, masks: Masks, kept: np.ndarray) -> np.ndarray:
        """With the most significant patch of layer n, where there is none."""
        if np.any(kept > self.learned):
            return kept
        return np.maximum(kept, np.isin(np.arange(len(kept)), self._ranked(n, masks, kept)[:1]))

    def least(self, n: int, masks: Masks) -> np.ndarray:
        """What layer n must keep: what the next one does, and one patch before the last."""
        last = n + 1 == len(self.layers)
        return self.last if last else self._with_patch(n, masks, masks[self.layers[n + 1].path])

    def ranked(self, n: int, masks: Masks) -> np.ndarray:
        """The other tokens that layer n may keep, the most significant first."""
        return self._ranked(n, masks, self.least(n, masks))

    def _ranked(self, n: int, masks: Masks, kept: np.ndarray) -> np.ndarray:
        onward = jnp.broadcast_to(jnp.eye(self.tokens.count), self.seen[n].attention.shape)
        for later in reversed(range(n + 1, len(self.layers))):
            onward = self.carried(onward, masks[self.layers[later].path], self.seen[later].attention)
        scores = np.asarray(self.significance(onward, self.seen[n].norms))
        order = np.argsort(-scores, kind="stable")
        return order[(self.whole[self.layers[n].path][order] > 0) & (kept[order] == 0)]

    def error(self, n: int, masks: Masks, values: dict[str, Array]) -> float:
        """Relative error behind layer n, of which `masks` has all from n on; infinite where it is no number."""
        layer, seen = self.layers[n], self.seen[n]
        program = self.tokens.program(layer)
        off, size = program.errors(
            [values[p] for p in layer.parameters], seen.inputs, seen.result, self._masks(n, masks)
        )
        found = float(off / size)
        return found if math.isfinite(found) else math.inf

    def _masks(self, n: int, masks: Masks) -> list[Array]:
        known = {**self.whole, **masks}
        return [jnp.asarray(known[path]) for path in self.layers[n].masks]

    def chosen(self, n: int, masks: Masks, kept: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
        """The masks with layer n keeping so many more tokens."""
        more = np.isin(np.arange(len(kept)), order)
        return {**masks, self.layers[n].path: np.maximum(kept, more).astype(np.float32)}

    def tune(self, n: int, masks: Masks, epochs: int) -> float:
        """Tunes layer n to give the following block's tokens under its mask, and keeps what that makes better: the
        error after it."""
        layer, before = self.layers[n], self.error(n, masks, self.values)
        program, under = self.tokens.program(layer), self._masks(n, masks)
        values = [self.values[path] for path in layer.parameters]
        state = program.begin(layer, values)
        for seen in self._batches(n, epochs):
            values, state = program.step(values, state, seen.inputs, seen.result, under)
        tuned = {**self.values, **dict(zip(layer.parameters, values, strict=True))}
        after = self.error(n, masks, tuned)
        if after < before:
            self.values = tuned
        return min(before, after)

    def _batches(self, n: int, epochs: int) -> Iterator[Seen]:
        """Inputs and results of layer n, of images in an order that follows from the seed."""
        size = min(BATCH, len(self.tuning))
        if self.inputs[0] != n:
            starts = range(0, len(self.tuning) - size + 1, size) if size else ()
            images = (self._prepared(self.tuning[at : at + size]) for at in starts)
            self.inputs = n, [jax.device_get(self.tokens.seen(self.first, x, self.whole)[n]) for x in images]
        batches, rng = self.inputs[1], np.random.default_rng([self.seed, n])
        for _ in range(epochs):
            yield from (batches[k] for k in rng.permutation(len(batches)))

    def until(self, n: int, masks: Masks, limit: float, epochs: int) -> Choice:
        """As few tokens as the limit allows, a few more at a time, each time with the block tuned."""
        kept, order = self.least(n, masks), self.ranked(n, masks)
        step, before = max(1, round(self.tokens.count * STEP)), self.values
        for count in range(0, len(order) + step, step):
            now = self.chosen(n, masks, kept, order[:count])
            # What was tuned for fewer tokens is not always better than what never was.
            self.values = min((before, self.values), key=lambda values: self.error(n, now, values))
            untuned = error = self.error(n, now, before)
            if untuned > limit:
                error = self.tune(n, now, epochs)
            if error <= limit or count >= len(order):
                break
        return Choice(now[self.layers[n].path], error, untuned, 1 + count // step)

    def fewest(self, n: int, masks: Masks, limit: float) -> np.ndarray:
        """As few tokens as the limit allows, without tuning: by halving, as errors fall with more tokens."""
        kept, order = self.least(n, masks), self.ranked(n, masks)
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if self.error(n, self.chosen(n, masks, kept, order[:middle]), self.first) <= limit:
                high = middle
            else:
                low = middle + 1
        return self.chosen(n, masks, kept, order[:low])[self.layers[n].path]
