"""How long a run waits for its images, and how many it gets: what the input costs of a step.

Only the outermost wait of the program counts; a thread that prepares batches ahead holds nobody up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]
"""Images and labels."""


class Meter:
    """Of this process."""

    def __init__(self):
        self.seconds, self.images = 0.0, 0
        self._local = threading.local()

    def fetched(self, get: Callable[[], Batch]) -> Batch:
        """A batch of images and labels, waited for."""
        if getattr(self._local, "inside", False):
            return get()
        began = time.monotonic()
        with self.ahead():
            batch = get()
        self.seconds += time.monotonic() - began
        self.images += np.size(batch[1])
        return batch

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Inside, this thread's waits are part of one that counts, or prepare what others will wait for."""
        self._local.inside = True
        try:
            yield
        finally:
            self._local.inside = False


METER = Meter()
LEAST_S = 0.1
"""Of less time no share is told."""


class Share:
    """The input's share of a run, from when this is made."""

    def __init__(self, meter: Meter = METER):
        self._meter, self._began = meter, meter.seconds
        self._before = self._now()

    @property
    def seconds(self) -> float:
        """Waited for so far."""
        return self._meter.seconds - self._began

    def line(self) -> str:
        """Of the time since it was last asked, for people; empty where too little has passed to tell."""
        now = self._now()
        passed, waited, images = (after - before for after, before in zip(now, self._before, strict=True))
        if passed < LEAST_S or not images:
            return ""
        self._before = now
        return f"input {waited / passed:.0%} of the time, {images / passed:.0f} images/s"

    def _now(self) -> tuple[float, float, int]:
        return time.monotonic(), self._meter.seconds, self._meter.images
