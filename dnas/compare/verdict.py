"""What accuracies say: means with standard errors, and whether two networks can be told apart.

The standard error of one network is that of its mean over seeds; with one seed it is the binomial error of the test
images. That of a group of networks is over the networks' means, which hold the seeds' scatter too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dnas.space import units

ERRORS = 2.0
"""Standard errors of a difference up to which it says nothing."""
Word = Literal["ahead of", "behind", "not to be told apart from"]
Over = Literal["seeds", "networks and seeds", "test images"]


@dataclass(frozen=True)
class Figure:
    """A mean accuracy and its standard error, as shares of the test images; `over` says what the error is over."""

    mean: float
    error: float
    over: Over

    @property
    def shown(self) -> str:
        return f"{100 * self.mean:.1f} +- {100 * self.error:.1f} %"


@dataclass(frozen=True)
class Verdict:
    """How the network found stands to another, or to a group."""

    name: str
    """Of the others, as a sentence has it."""
    word: Word
    gap: float
    """Mean accuracy of the network found minus theirs."""
    error: float
    """Standard error of the gap."""

    @property
    def shown(self) -> str:
        return f"{100 * self.gap:+.1f} +- {100 * self.error:.1f} points"


def of_network(accuracies: Sequence[float], images: int) -> Figure:
    """One network's accuracies, one for each seed."""
    mean = _mean(accuracies)
    if len(accuracies) == 1:
        return Figure(mean, units.standard_error(mean, images), "test images")
    return Figure(mean, float(np.std(accuracies, ddof=1)) / math.sqrt(len(accuracies)), "seeds")


def of_group(accuracies: Sequence[Sequence[float]], images: int, least: float = 0.0) -> Figure:
    """Several networks' accuracies, a row for each.

    `least` is the standard error of one network's mean by the scatter of all networks over seeds; with one seed it is
    the binomial error. A few networks that agree by chance are not more certain than that makes their mean.
    """
    if len(accuracies) == 1:
        return of_network(accuracies[0], images)
    means = [_mean(row) for row in accuracies]
    one = units.standard_error(_mean(means), images) if len(accuracies[0]) == 1 else least
    error = max(float(np.std(means, ddof=1)), one) / math.sqrt(len(means))
    return Figure(_mean(means), error, "networks and seeds")


def _mean(values: Sequence[float]) -> float:
    """Rounded, so that all that show it round the same number."""
    return round(float(np.mean(values)), 6)


def scatter(accuracies: Sequence[Sequence[float]], images: int) -> float:
    """Standard deviation over seeds, pooled over networks; 0 with one seed each.

    With several it is at least one test image: accuracies come in such steps, and those of few images agree by chance.
    """
    freedom = sum(len(row) - 1 for row in accuracies)
    if not freedom:
        return 0.0
    squares = sum(float(np.sum((np.asarray(row) - np.mean(row)) ** 2)) for row in accuracies)
    return max(math.sqrt(squares / freedom), 1 / images)


def verdict(name: str, found: Figure, other: Figure, least: float = 0.0) -> Verdict:
    """Whether the network found is ahead of another: by more than two standard errors of the difference.

    `least` is the standard error of one network's mean by the scatter of all networks over seeds: a few seeds that
    agree by chance do not make a difference certain.
    """
    own = [f.error if f.over == "networks and seeds" else max(f.error, least) for f in (found, other)]
    gap, error = found.mean - other.mean, math.hypot(*own)
    word: Word = "not to be told apart from"
    if abs(gap) > ERRORS * error:
        word = "ahead of" if gap > 0 else "behind"
    return Verdict(name, word, gap, error)


def sentence(name: str, found: Figure, verdicts: Sequence[Verdict], seeds: int, images: int) -> str:
    """The answer: ahead of whom, behind whom, from whom not to be told apart, with what evidence."""
    evidence = f"With {seeds} {'seed' if seeds == 1 else 'seeds'} and {images:,} test images"
    parts = []
    words: tuple[Word, ...] = ("ahead of", "not to be told apart from", "behind")
    for word in words:
        if named := [f"{v.name} ({v.shown})" for v in verdicts if v.word == word]:
            parts.append(f"{word} {_listed(named)}")
    if not parts:
        return f"{evidence}, {name} has {found.shown}; there is nothing to compare it with."
    return f"{evidence}, {name} ({found.shown}) is {_listed(parts, '; ')}."


def legend(seeds: int, drawn: int) -> str:
    """What the standard errors are."""
    one = "over seeds" if seeds > 1 else "of the test images (binomial, since there is one seed)"
    group = "; for those drawn together over networks and seeds" if drawn > 1 else ""
    pooled = (
        "; in differences a network's is at least that of the scatter over seeds of all networks" if seeds > 1 else ""
    )
    return f"+-: standard errors, {one}{group}{pooled}; a difference counts from two of them on"


def _listed(parts: Sequence[str], comma: str = ", ") -> str:
    if len(parts) == 1:
        return parts[0]
    return f"{comma.join(parts[:-1])}{comma.rstrip() if comma != ', ' else ''} and {parts[-1]}"
