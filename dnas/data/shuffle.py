"""Permutations and stratified draws that depend on nothing but their key.

They sort raw words of the counter-based generator Philox. Unlike `numpy.random.Generator.permutation`, whose stream
may change between numpy releases, the raw words are fixed for good: the same seed gives the same split everywhere.
"""

from __future__ import annotations

import functools

import numpy as np

BATCHES, SEARCH_SPLIT, TEST_SPLIT, EXTRACT, AUGMENT, TRAIN_SPLIT = 1, 2, 3, 4, 5, 6
"""Purposes: streams of the same seed that must not repeat each other."""

_WORD = 2**64


@functools.lru_cache(maxsize=8)
def permutation(count: int, seed: int, purpose: int, number: int) -> np.ndarray:
    """A permutation of `range(count)`, int64, read-only, keyed by (seed, purpose, number)."""
    key = np.array([seed % _WORD, (purpose << 56) + number], dtype=np.uint64)
    order = np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
    order.flags.writeable = False
    return order


def uniforms(count: int, seed: int, purpose: int, number: int) -> np.ndarray:
    """Numbers in [0, 1), float64, keyed by (seed, purpose, number)."""
    key = np.array([seed % _WORD, (purpose << 56) + number], dtype=np.uint64)
    return (np.random.Philox(key=key).random_raw(count) >> np.uint64(11)) * 2.0**-53


def stratified(labels: np.ndarray, share: float, seed: int, purpose: int) -> tuple[np.ndarray, np.ndarray]:
    """Part `range(len(labels))` class by class into (rest, taken), both sorted int64.

    `share` of every class is taken, rounded to the nearest count; a class of two or more images keeps at least one on
    each side, a class of one image stays in the rest.
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, int(len(members) * share + 0.5)), len(members) - 1)
        chosen[members[permutation(len(members), seed, purpose, int(label))[:count]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
