"""How one program is timed: warm-up, two interleaved passes of repeats, and what to say of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Protocol:
    """Numbers of the measurement; times in seconds."""

    warm_up: int = 15
    repeats: int = 120
    most_s: float = 2.0
    """A block stops repeating after this time; at least five repeats a pass are made."""
    disagree: float = 0.1
    """Passes whose medians differ by more than this share are measured again."""
    retries: int = 3


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: statistics over both passes, and how far the passes' medians lie apart."""

    median: float
    p10: float
    p90: float
    least: float
    repeats: int
    disagreement: float
    tries: int = 1


def time_together(programs: Sequence[Callable[[], Any]], protocol: Protocol, tries: int = 1) -> list[Timing]:
    """Times several programs in two passes, all of them once and then all again.

    A disturbance of a second or so then hits one pass of a program only, and shows as a disagreement.
    """
    for program in programs:
        for _ in range(protocol.warm_up):
            program()
    passes = [[_repeat(program, protocol) for program in programs] for _ in range(2)]
    return [_timing(a, b, tries) for a, b in zip(*passes, strict=True)]


def measured(programs: Sequence[Callable[[], Any]], protocol: Protocol) -> list[Timing]:
    """As `time_together`; what disagrees is measured again, and each program keeps its most agreeing timing."""
    best = time_together(programs, protocol)
    for tries in range(2, protocol.retries + 2):
        again = [n for n, t in enumerate(best) if t.disagreement > protocol.disagree]
        if not again:
            break
        for n, timing in zip(again, time_together([programs[n] for n in again], protocol, tries), strict=True):
            if timing.disagreement < best[n].disagreement:
                best[n] = timing
    return best


def _repeat(program: Callable[[], Any], protocol: Protocol) -> list[float]:
    samples: list[float] = []
    program()
    end = time.perf_counter() + protocol.most_s / 2
    while len(samples) < 5 or (len(samples) < protocol.repeats // 2 and time.perf_counter() < end):
        start = time.perf_counter()
        program()
        samples.append(time.perf_counter() - start)
    return samples


def _timing(a: list[float], b: list[float], tries: int) -> Timing:
    both = np.array(a + b)
    medians = float(np.median(a)), float(np.median(b))
    p10, median, p90 = (float(q) for q in np.quantile(both, (0.1, 0.5, 0.9)))
    return Timing(median, p10, p90, float(both.min()), len(both), max(medians) / min(medians) - 1, tries)
