"""Batches in their order, decoded ahead by processes of grain while the program computes.

A batch is a function of its step, so grain is given a source that answers by number, and a stream begins at any step.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import re
import signal
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnas.data.stream.decode import Decoded, decode
from dnas.data.stream.places import Places
from dnas.errors import DataError
from dnas.process.extras import need

FOREVER = 1 << 40
"""Parts in a stream, which ends with its program."""
NOTHING = Decoded(np.empty(0, np.uint8), {})
"""Before the first step."""
HINTS = {
    -9: ", as systems do where memory runs out",
    -7: ": /dev/shm is full",
    1: ' (a script needs `if __name__ == "__main__":`)',
}
"""What may be the cause, by exit code; -9 and -7 are SIGKILL and SIGBUS, which not every system has."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The batches from step `start` on, each in `count` parts: the source that readers take every so many parts of."""

    places: Places
    side: int
    channels: int
    chosen: Callable[[int], np.ndarray]
    """Step -> numbers of its images in `places`."""
    start: int
    count: int

    def __len__(self) -> int:
        return FOREVER

    def __getitem__(self, number: int) -> tuple[np.ndarray, dict[int, str]]:
        step, part = divmod(int(number), self.count)
        numbers = np.array_split(self.chosen(self.start + step), self.count)[part]
        return decode(self.places, numbers, self.side, self.channels)


class Feed:
    """Batches by their step; read in order they are decoded ahead, and a step elsewhere begins anew from there."""

    def __init__(self, parts: Callable[[int, int], Parts], readers: int):
        self._parts, self._readers = parts, readers
        self._iterators: list[Any] = []
        """None or one."""
        weakref.finalize(self, _closed, self._iterators)
        self._step, self._last = -1, NOTHING

    def at(self, step: int) -> Decoded:
        """The images of a step, which are kept until those of another are asked for.

        Raises:
            DataError: a reader ended.
        """
        if step != self._step:
            if not self._iterators or step != self._step + 1:
                self._begin(step)
            self._last, self._step = self._taken(), step
        return self._last

    def close(self) -> None:
        """Ends the readers, if there are any; the next step begins them anew."""
        _closed(self._iterators)
        self._step, self._last = -1, NOTHING

    def _begin(self, step: int) -> None:
        """Starts the readers. Parts are so small that about six batches are ahead, however many readers there are."""
        _closed(self._iterators)
        grain, flags = need("grain", "data"), need("absl.flags", "data").FLAGS
        if not flags.is_parsed():  # grain reads some, and only a program built on absl parses them
            flags.mark_as_parsed()
        atexit.register(_closed, self._iterators)  # before what multiprocessing does then, as it was registered first
        self._count = (self._readers + 1) // 2
        whole = grain.MapDataset.source(self._parts(step, self._count)).to_iter_dataset(grain.ReadOptions(0, 0))
        options = grain.multiprocessing.MultiprocessingOptions(self._readers, per_worker_buffer_size=1)
        self._iterators.append(iter(whole.mp_prefetch(options, worker_init_fn=_begun)))

    def _taken(self) -> Decoded:
        try:
            parts = [next(self._iterators[0]) for _ in range(self._count)]
        except (RuntimeError, MemoryError) as error:
            _closed(self._iterators)
            raise _died(error) from error
        starts = np.cumsum([0, *(len(pixels) for pixels, _ in parts)])
        bad = {int(s) + row: why for s, (_, found) in zip(starts, parts, strict=False) for row, why in found.items()}
        return Decoded(np.concatenate([np.asarray(pixels) for pixels, _ in parts]), bad)  # and frees the shared memory


def _closed(iterators: list[Any]) -> None:
    while iterators:
        iterators.pop().close()


def _begun(_: int, count: int) -> None:
    """In a reader: signals of a terminal or a scheduler are its program's, with which it ends, however that ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    program = multiprocessing.parent_process()

    def follow() -> None:
        if program is not None:
            program.join()
            os._exit(0)

    threading.Thread(target=follow, daemon=True).start()


def _died(error: RuntimeError | MemoryError) -> DataError:
    """The one line on a reader that ended by itself."""
    if isinstance(error, MemoryError):
        return DataError("a process that reads images had too little memory; fewer --readers take less")
    how = str(error).splitlines()[0]
    if found := re.search(r"exit code (-?\d+)", how):
        code = int(found[1])
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({signal.Signals(-code).name})"
        how += HINTS.get(code, "")
    return DataError(f"a process that reads images ended {how}; --readers 0 reads in this process instead")
