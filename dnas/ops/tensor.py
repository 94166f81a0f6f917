"""What flows between operators: named axes, each with a size that is a table over choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dnas.space.entries import agreement
from dnas.space.quantity import Product, Quantity

ROWS, COLUMNS, CHANNELS = "rows", "columns", "channels"
HEADS, QUERIES, KEYS = "heads", "queries", "keys"
TOKENS, WINDOWS, PATCHES = "tokens", "windows", "patches"


@dataclass(frozen=True, eq=False)
class Axis:
    """A named dimension. An array holds the entries of every option; under gates a mask in [0, 1] says how much of each
    is meant. Where it comes from is the size's to say: a plain quantity keeps the first entries, those of
    `dnas.space.entries` any others.

    `pending` says that the mask is still to be applied: what reads the axis folds it into its weights where that is
    exact.
    """

    name: str
    size: Quantity
    pending: bool = False

    @property
    def length(self) -> int:
        """Of the array."""
        return self.size.length

    @property
    def masked(self) -> bool:
        """Whether a mask is still to be applied, and is not 1 everywhere."""
        return self.pending and self.size.masked


@dataclass(frozen=True, eq=False)
class Tensor:
    """The sizes of an array without its batch axis. Tensors are told apart by identity."""

    axes: tuple[Axis, ...]

    def __getitem__(self, name: str) -> Axis:
        return next(axis for axis in self.axes if axis.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def channels(self) -> Quantity:
        return self[CHANNELS].size

    @property
    def side(self) -> Quantity | None:
        """Of a map, which is square; None where there are no rows."""
        return self[ROWS].size if ROWS in self.names else None

    @property
    def pending(self) -> bool:
        """Whether the mask of any axis is still to be applied."""
        return any(axis.pending for axis in self.axes)

    @property
    def elements(self) -> Product:
        """How many numbers it holds."""
        return Product(*(axis.size for axis in reversed(self.axes)))

    @property
    def length(self) -> int:
        """Numbers of the array, an image."""
        return math.prod(axis.length for axis in self.axes)

    def like(self, **sizes: Quantity) -> Tensor:
        """The same axes with other sizes, by name."""
        return Tensor(tuple(replace(axis, size=sizes.get(axis.name, axis.size)) for axis in self.axes))

    def to_mask(self, pending: bool, name: str = CHANNELS) -> Tensor:
        """The same sizes; whether the mask of one axis is still to be applied."""
        return Tensor(tuple(replace(a, pending=pending) if a.name == name else a for a in self.axes))

    def same_size(self, other: Tensor) -> bool:
        """Whether the axes have the same names, and the same entries for every joint option."""
        return self.names == other.names and all(
            agreement(a.size, b.size).min() for a, b in zip(self.axes, other.axes, strict=True)
        )


Feature = Tensor | tuple["Feature", ...]
"""What flows between blocks: one tensor, or several of which the first is the one that formulas and costs speak of."""


def leaves(feature: Feature) -> tuple[Tensor, ...]:
    """The tensors of a feature, in their order."""
    return (feature,) if isinstance(feature, Tensor) else tuple(x for part in feature for x in leaves(part))


def mapped(function: Callable[[Tensor], Any], feature: Feature) -> Any:
    """The feature with something in the place of each tensor."""
    return function(feature) if isinstance(feature, Tensor) else tuple(mapped(function, part) for part in feature)


class Value(NamedTuple):
    """A tensor with its numbers, [N, *axes]."""

    tensor: Tensor
    array: Any


def vector(channels: Quantity, pending: bool = False) -> Tensor:
    """[channels]"""
    return Tensor((Axis(CHANNELS, channels, pending),))


def square(side: Quantity, channels: Quantity, pending: bool = False) -> Tensor:
    """A square map: [rows, columns, channels]."""
    return Tensor((Axis(ROWS, side), Axis(COLUMNS, side), Axis(CHANNELS, channels, pending)))


def described(tensors: Iterable[Tensor]) -> list[dict[str, list[Any]]]:
    """Sizes for messages."""
    return [{axis.name: axis.size.values() for axis in tensor.axes} for tensor in tensors]
