"""Weights of a network on images of another side: tables of positions follow the maps, all else stays.

What is learned for every position (or pair, or distance) of a map is a table as large as the map. On a larger or
smaller one it is resized as a picture is: linearly, averaging where it shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dnas.data.preprocess import resize_weights
from dnas.errors import InputError
from dnas.graph import graph_of
from dnas.graph.parts import Node
from dnas.nn.supernet import Variables
from dnas.space.space import Space

Shape = tuple[int, ...]


class Resized(NamedTuple):
    """Variables of the network on the other images, and the paths of those that were resized."""

    variables: Variables
    tables: tuple[str, ...]


def at_side(variables: Variables, own: Space, network: Space) -> Resized:
    """Variables of `own` as those of `network`, which is the same on images of another side.

    Raises:
        InputError: a variable of another shape that is no table of positions.
    """
    pairs = zip(*([node for node in graph_of(space).nodes if node.parameters] for space in (own, network)), strict=True)
    found: Variables = {group: {} for group in variables}
    tables = []
    for old, new in pairs:
        for (before, parameter), (after, wanted) in zip(old.parameters.items(), new.parameters.items(), strict=True):
            group = "batch_stats" if parameter.statistic else "params"
            value = variables[group][before]
            if parameter.lengths != wanted.lengths:
                value = _resized(np.asarray(value), old, wanted.lengths, network)
                tables.append(after)
            found[group][after] = jnp.asarray(value)
    return Resized(found, tuple(tables))


def _resized(value: np.ndarray, node: Node, shape: Shape, network: Space) -> np.ndarray:
    kind = node.operator.name
    if kind not in TABLES:
        side = network.resolution.value
        raise InputError(network.source, f"weights of '{node.path}' have another shape on images of {side} px")
    return TABLES[kind](value, shape).reshape(shape).astype(value.dtype)


def _positions(value: np.ndarray, shape: Shape) -> np.ndarray:
    """[rows, columns, channels], or [tokens, channels] with learned tokens before those of a square."""
    if len(shape) == 3:
        return _along(value, (0, 1), shape)
    lead = next(n for n in range(len(value)) if _is_square(len(value) - n) and _is_square(shape[0] - n))
    old, new = (math.isqrt(length - lead) for length in (len(value), shape[0]))
    grid = _along(value[lead:].reshape(old, old, -1), (0, 1), (new, new))
    return np.concatenate([value[:lead], grid.reshape(new * new, -1)])


def _window_bias(value: np.ndarray, shape: Shape) -> np.ndarray:
    """[distances in rows and columns, heads]"""
    old, new = math.isqrt(len(value)), math.isqrt(shape[0])
    return _along(value.reshape(old, old, -1), (0, 1), (new, new))


def _learned_scores(value: np.ndarray, shape: Shape) -> np.ndarray:
    """[heads, queries of a map, keys of a map]"""
    old, new = ([math.isqrt(n) for n in lengths[1:] for _ in "rc"] for lengths in (value.shape, shape))
    return _along(value.reshape(-1, *old), (1, 2, 3, 4), (len(value), *new))


def _distance_bias(value: np.ndarray, shape: Shape) -> np.ndarray:
    """[heads, distance in rows, distance in columns]: no distance stays none, the largest stays the largest."""
    matrices = (_between(value.shape[axis], shape[axis]) for axis in (1, 2))
    return np.einsum("ar,bc,hrc->hab", *matrices, value)


def _between(old: int, new: int) -> np.ndarray:
    """[new, old]: linear, the ends on the ends."""
    at = np.linspace(0, old - 1, new)
    return np.stack([np.interp(at, np.arange(old), row) for row in np.eye(old)], axis=1)


def _along(value: np.ndarray, axes: Sequence[int], shape: Shape) -> np.ndarray:
    """Some axes with the lengths that they have in `shape`."""
    for axis in axes:
        weights = resize_weights(value.shape[axis], shape[axis])
        value = np.moveaxis(np.tensordot(weights, value, (1, axis)), 0, axis)
    return value


def _is_square(n: int) -> bool:
    return n > 0 and math.isqrt(n) ** 2 == n


TABLES: dict[str, Callable[[np.ndarray, Shape], np.ndarray]] = {
    "positions": _positions, "window_bias": _window_bias, "distance_bias": _distance_bias,
    "learned_scores": _learned_scores,
}  # fmt: skip
"""By the kind of operator that has the table."""
