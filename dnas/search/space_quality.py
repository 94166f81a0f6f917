"""How good a search space is, and which way its choices should move (S3, Chen et al. 2021, section 3.2).

Pure functions of errors, in percentage points, of N architectures drawn evenly from a space A under its limits:

* Q_e(A), expected error: the mean of all;
* Q_t(A), top-tier error: the mean of the 50 lowest, of all where there are fewer;
* Q(A) = (Q_e(A) + Q_t(A)) / 2, the E-T error: smaller is better.

A space is a product of subspaces S_i, each the list of choices of one dimension in one stage. Q(A | S_i = v) is the E-T
error of those drawn that have the choice v there. Over the choices a line is fitted by least squares; where it rises
the list should move down, where it falls up:

    S_i <- { v - floor(w / tau) * gamma_i : v in S_i }, without what is not positive

with the slope w and the step gamma_i of the dimension. So that tau means the same in all dimensions, w is a change of
the error in percentage points from one choice to the next, never from one unit to the next. The paper prints neither
tau nor gamma: gamma is taken as the spacing of the first list, tau = 0.4 points (`dnas.search.settings`) is a guess.

`floor` has no dead zone below zero: the least falling of a line moves the list up. `trunc` is symmetric: it leaves what
changes by less than tau either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

TOP = 50
"""Architectures of the top tier."""
DIGITS = 9
"""Decimals of a slope: what is flat but for rounding does not move."""

Rule = Literal["floor", "trunc"]
Number = int | float


class Quality(NamedTuple):
    """Of a set of architectures, in percentage points."""

    expected: float
    top: float

    @property
    def et(self) -> float:
        """The E-T error."""
        return (self.expected + self.top) / 2


class Line(NamedTuple):
    """error = slope * index + intercept, of choices counted from 0."""

    slope: float
    intercept: float


def quality(errors: Float[np.ndarray, " n"], top: int = TOP) -> Quality:
    """Mean error and mean of the `top` lowest; not a number where there are none."""
    if not len(errors):
        return Quality(math.nan, math.nan)
    return Quality(float(np.mean(errors)), float(np.mean(np.sort(errors)[:top])))


def by_choice(
    errors: Float[np.ndarray, " n"], genes: Int[np.ndarray, "n genes"], exists: Bool[np.ndarray, "n genes"],
    count: int, top: int = TOP,
) -> Float[np.ndarray, " choices"]:  # fmt: skip
    """Q(A | S_i = v) for each of `count` choices v, a mean over the genes that the subspace has (one a block).

    Args:
        errors: of the architectures.
        genes: index of the choice that each has in each block.
        exists: whether the block exists there; where it does not, its gene says nothing.

    A choice that nobody drawn has is not a number.
    """
    found = np.full((count, genes.shape[1]), np.nan)
    for choice in range(count):
        for block in range(genes.shape[1]):
            found[choice, block] = quality(errors[exists[:, block] & (genes[:, block] == choice)], top).et
    known = ~np.isnan(found)
    sums = np.where(known, found, 0.0).sum(axis=1)
    return np.divide(sums, known.sum(axis=1), out=np.full(count, np.nan), where=known.any(axis=1))


def line(values: Sequence[float] | Float[np.ndarray, " choices"]) -> Line:
    """(w, b) = argmin sum_l (w l + b - Q(A | S_i = v_l))^2; flat where fewer than two values are known."""
    heights = np.asarray(values, np.float64)
    places = np.flatnonzero(~np.isnan(heights))
    heights = heights[places]
    if len(places) < 2:
        return Line(0.0, float(heights[0]) if len(places) else math.nan)
    centred = places - places.mean()
    slope = float(np.sum(centred * heights) / np.sum(centred**2))
    return Line(slope, float(heights.mean() - slope * places.mean()))


def steps(slope: float, tau: float, rule: Rule) -> int:
    """Steps of gamma by which a list moves: -floor(w / tau), or -trunc(w / tau)."""
    share = round(slope, DIGITS) / tau
    return -(math.floor(share) if rule == "floor" else math.trunc(share))


def spacing(options: Sequence[Number]) -> Number:
    """gamma of a list: the least distance between neighbours, which every common divisor of the list divides."""
    ordered = sorted(options)
    return _plain(min(b - a for a, b in zip(ordered, ordered[1:], strict=False)), whole=_whole(options))


def moved(options: Sequence[Number], count: int, gamma: Number) -> tuple[Number, ...]:
    """The list `count` steps up (down where negative), without what is not positive.

    A list that itself has numbers below 1 step, such as a depth of 0, keeps to its own least.
    """
    least, whole = min(options), _whole(options) and _whole([gamma])
    numbers = [_plain(option + count * gamma, whole) for option in options]
    return tuple(number for number in numbers if number > 0 or number >= least)


def _whole(options: Sequence[Number]) -> bool:
    return all(isinstance(option, int) for option in options)


def _plain(number: Number, whole: bool) -> Number:
    """Without the noise of sums of decimals."""
    rounded = number if whole else round(float(number), DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded
