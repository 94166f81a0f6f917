"""When a long run writes a checkpoint: often enough to lose little, seldom enough to cost little."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dnas.errors import InputError

EVERY_S = 60.0
SHARE = 0.02
"""Of a run's time, at most, that checkpoints take where their interval was left to us."""


class Pace:
    """When a checkpoint is due: every `every_s` seconds; without that every minute, as far as `SHARE` allows.

    A short run may end without any: it is begun anew in less time than its checkpoints would take.
    """

    def __init__(self, every_s: float | None, clock: Callable[[], float] = time.monotonic):
        """Raises `InputError` for seconds that no clock shows."""
        if every_s is not None and not 0 <= every_s < math.inf:
            accepted = "a finite number of seconds from 0"
            raise InputError("--checkpoint-every", "out of range", found=every_s, accepted=accepted)
        self.every_s, self.clock = every_s, clock
        self.began = self.saved_at = clock()
        self.seconds = 0.0
        """Spent on checkpoints."""
        self._last = 0.0

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        now = self.clock()
        if self.every_s is not None:
            return now - self.saved_at >= self.every_s
        affordable = self.seconds + self._last <= SHARE * (now - self.began)
        return affordable and now - self.saved_at >= EVERY_S

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Times a checkpoint."""
        began = self.clock()
        yield
        self.saved_at = self.clock()
        self._last = self.saved_at - began
        self.seconds += self._last
