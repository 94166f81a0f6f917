"""Rows of the table of names, and what one says of a tensor: its name in timm, and how its numbers are ordered there.

A row names a module of timm within a block and the operator of ours that holds the same numbers; several operators are
one module where timm computes them together. What the parameters of an operator are called there, and in which order
their axes stand, follows from the operator's kind (`FORMS`).

Only the way from ours to timm's is written down. All of it is rearranging, so the way back follows (`Entry.fill`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

Change = Callable[[np.ndarray], np.ndarray]


def plain(x: np.ndarray) -> np.ndarray:
    """As it is."""
    return x


def kernel(x: np.ndarray) -> np.ndarray:
    """[k, k, in, out], flat over its last axes or without k where that is 1, -> [out, in, k, k]."""
    square = x[None, None] if x.ndim == 2 else x.reshape(*x.shape[:2], -1, x.shape[-1])
    return square.transpose(3, 2, 0, 1)


def pixels(x: np.ndarray) -> np.ndarray:
    """[pixels of a square, channels] -> [1, channels, side, side]."""
    side = math.isqrt(len(x))
    return x.T.reshape(1, -1, side, side)


class Leaf(NamedTuple):
    """A parameter or statistic of an operator: timm's name in the module, ours, and the change from ours to timm's."""

    theirs: str
    """Empty where timm has the array without a module of its own."""
    ours: str
    change: Change = plain


KERNEL = Leaf("weight", "weight", kernel)
BIAS = Leaf("bias", "bias")
AFFINE = (Leaf("weight", "scale"), Leaf("bias", "shift"))
FORMS: Mapping[str, tuple[Leaf, ...]] = {
    "conv": (KERNEL, BIAS),
    "depthwise": (KERNEL, BIAS),
    "pointwise": (KERNEL, BIAS),
    "word_embed": (KERNEL, BIAS),
    "mix_heads": (KERNEL, BIAS),
    "linear": (Leaf("weight", "weight", np.transpose), BIAS),
    "layer_norm": AFFINE,
    "batch_norm": (*AFFINE, Leaf("running_mean", "mean"), Leaf("running_var", "var")),
    "layer_scale": (Leaf("gamma", "scale"),),
    "positions": (Leaf("", "table", lambda x: x[None]),),
    "window_bias": (Leaf("", "table"),),
    "distance_bias": (Leaf("", "table", lambda x: x.reshape(len(x), -1)),),
    "class_token": (Leaf("", "token", lambda x: x[None, :1]),),
    # Not of an operator's kind, for rows that say so:
    "distillation_token": (Leaf("", "token", lambda x: x[None, 1:]),),
    "pixel_positions": (Leaf("", "table", pixels),),
    "without_bias": (KERNEL,),
}
"""What timm calls the parameters of an operator, by its kind (`dnas.ops`)."""


@dataclass(frozen=True)
class Row:
    """A module of timm and the operators of ours that it is."""

    name: str
    """Within the block, or of the whole network."""
    ours: tuple[str, ...]
    """Names within the block; a name may end with `*`."""
    form: str = ""
    """In `FORMS`, where it is not that of the operator's kind."""
    by_head: bool = False
    """Whether several operators take turns head by head; else one stands after another."""
    norm: str = ""
    """The norm behind a convolution that has no bias in timm: one of ours moves into its mean."""


def table(names: Mapping[str, str], **more: bool | str) -> tuple[Row, ...]:
    """Rows of timm's names and ours, several of which are set apart by spaces; `more` are fields of every row."""
    return tuple(replace(Row(theirs, tuple(ours.split())), **more) for theirs, ours in names.items())


@dataclass(frozen=True)
class Entry:
    """A tensor of timm, and the parameters or statistics of ours whose numbers it holds."""

    name: str
    ours: tuple[str, ...]
    """Paths of variables."""
    shapes: tuple[tuple[int, ...], ...]
    """Of ours."""
    change: Change
    heads: int = 0
    """Of several that take turns; 0 where one stands after another."""

    def made(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Timm's tensor, of ours."""
        parts = [self.change(array) for array in arrays]
        if len(parts) == 1:
            return parts[0]
        if not self.heads:
            return np.concatenate(parts)
        turns = [part.reshape(self.heads, -1, *part.shape[1:]) for part in parts]
        return np.concatenate(turns, axis=1).reshape(-1, *parts[0].shape[1:])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of timm's tensor."""
        return self.made([np.broadcast_to(np.zeros((), np.int8), shape) for shape in self.shapes]).shape

    def fill(self, value: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
        """Puts the numbers of timm's tensor where they belong in ours."""
        ends = np.cumsum([0, *map(math.prod, self.shapes)])
        spans = [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]
        places = np.arange(ends[-1])
        origins = self.made([places[span].reshape(shape) for span, shape in zip(spans, self.shapes, strict=True)])
        numbers = np.concatenate([found[name].ravel() for name in self.ours])
        numbers[origins.ravel()] = value.ravel()
        for name, span, shape in zip(self.ours, spans, self.shapes, strict=True):
            found[name][...] = numbers[span].reshape(shape)
