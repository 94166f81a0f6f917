"""Batches as a pure function of (seed, step): the data position is one integer, so a resumed run reads the same data.

An epoch is one permutation of the index, cut into whole batches; the remainder is dropped (another remainder every
epoch). An index smaller than a batch makes epochs of one step, whose batch repeats the permutation until it is full.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol, runtime_checkable

import numpy as np

from dnas.data.dataset import Images
from dnas.data.shuffle import BATCHES, permutation
from dnas.data.stream.images import Ordered, Streamed, soon, within
from dnas.data.waiting import METER
from dnas.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]
"""Images uint8 [B, S, S, C], labels int32 [B]."""
MOST_STEPS = 2**31 - 1
"""Of a search or a training; optimizers count them in int32."""
AHEAD = 2
"""Steps whose images are asked for before their time, where they are on disk and threads decode them."""


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches in `count` images, at least 1."""
    return max(1, count // batch_size)


def steps_of(epochs: float, count: int, batch_size: int) -> float:
    """Steps of so many passes over `count` images; raises `InputError` for more than an int32 counts."""
    steps = epochs * steps_per_epoch(count, batch_size)
    if steps > MOST_STEPS:
        raise InputError("--epochs", f"{steps:.3g} steps", found=epochs, accepted=f"at most {MOST_STEPS:,} steps")
    return steps


def batch_indices(
    index: np.ndarray, batch_size: int, seed: int, step: int, rows: np.ndarray | None = None
) -> np.ndarray:  # fmt: skip
    """The `batch_size` entries of `index` that step number `step` (from 0, over all epochs) trains on, or `rows` of
    them."""
    epoch, position = divmod(step, steps_per_epoch(len(index), batch_size))
    order = permutation(len(index), seed, BATCHES, epoch)
    places = np.arange(position * batch_size, (position + 1) * batch_size) % len(index)
    return index[order[places if rows is None else places[rows]]]


def repeats(count: int, batch_size: int) -> list[str]:
    """What is said where a batch shows images more than once."""
    if batch_size <= count:
        return []
    return [f"a batch of {batch_size:,} repeats the {count:,} images there are {batch_size / count:.3g} times"]


@dataclass(frozen=True, eq=False)
class Batches:
    """The training stream over `index`, positions in `images` [N, S, S, C] and `labels` [N]."""

    images: Images
    labels: np.ndarray
    index: np.ndarray
    batch_size: int
    seed: int
    rows: np.ndarray | None = None
    """Rows of each batch that are read here, where several hosts read each its own; all of them if None."""
    sharing: int = 1
    """Streams that are read side by side, this one among them: they part the readers of images on disk."""
    order: np.ndarray | None = None
    """Step number `n` takes the batch that is number `order[n]` otherwise; batch `n` if None."""

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError("batch_size", "out of range", found=self.batch_size, accepted="at least 1")
        if not len(self.index):
            raise InputError("data", "no images to make batches of")

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.index), self.batch_size)

    def share(self, rows: np.ndarray) -> Batches:
        """What one of several hosts reads: `rows` of every batch (`dnas.process.devices.Devices.own_rows`)."""
        return replace(self, rows=rows)

    def reordered(self, order: np.ndarray) -> Batches:
        """A stream of its own, of which step number `n` takes this one's batch number `order[n]`.

        Steps in their order are decoded ahead, whatever batches they take.
        """
        return replace(self, order=order)

    def rest(self) -> None:
        """Ends what decodes images on disk ahead, and drops what it holds. The next batch begins it anew."""
        if self._in_order is not None:
            self._in_order.rest()
        elif isinstance(self._own, Streamed):
            self._own.stream.forget()

    def chosen(self, step: int) -> np.ndarray:
        """Positions of the images of a step that are read here."""
        return self._from(self.index)(step)

    def at(self, step: int) -> Batch:
        """The batch of step number `step`, or this host's rows of it, whatever was read before.

        Steps in their order are decoded ahead.
        """
        return METER.fetched(lambda: (self._pixels(step), self.labels[self.chosen(step)]))

    def alone(self, step: int) -> Batch:
        """The same where no other follows: nothing is started or decoded ahead."""
        return METER.fetched(lambda: (self._own[self.chosen(step)], self.labels[self.chosen(step)]))

    def _pixels(self, step: int) -> np.ndarray:
        if self._in_order is not None:
            return self._in_order.at(step)
        for number in range(step, step + 1 + AHEAD):
            soon(self._own, self.chosen(number))
        return self._own[self.chosen(step)]

    @cached_property
    def _own(self) -> Images:
        """No image outside the index takes the place of an unreadable one."""
        return within(self.images, self.index)

    @cached_property
    def _in_order(self) -> Ordered | None:
        if not isinstance(self._own, Streamed):
            return None
        return self._own.in_order(self._from(self._own.among), self.sharing)

    def _from(self, index: np.ndarray) -> Callable[[int], np.ndarray]:
        """Entries of an array like `index` by steps."""
        of_batch = partial(batch_indices, index, self.batch_size, self.seed, rows=self.rows)
        return of_batch if self.order is None else partial(_in_place_of, of_batch, self.order)


def _in_place_of(of_batch: Callable[[int], np.ndarray], order: np.ndarray, step: int) -> np.ndarray:
    """Entries of the batch that a step takes; those who read ahead of the last step are given its own."""
    return of_batch(int(order[min(step, len(order) - 1)]))


@runtime_checkable
class Source(Protocol):
    """Batches by their number."""

    def at(self, step: int) -> Batch: ...


class Ahead:
    """Batches that are read in order, the next ones prepared by a thread (`prefetch`); reading elsewhere begins anew.

    Args:
        stop: the step that is never read.
    """

    def __init__(self, batches: Source, stop: int):
        self.batches, self.stop, self._next = batches, stop, 0
        self._reader = prefetch(batches, 0, stop)

    def at(self, step: int) -> Batch:
        """The batch of step number `step`."""
        if step != self._next:
            self.close()
            self._reader = prefetch(self.batches, step, self.stop)
        self._next = step + 1
        return METER.fetched(lambda: next(self._reader))

    def close(self) -> None:
        """Ends the thread; the next batch begins another."""
        self._reader.close()
        self._next = -1


def prefetch(batches: Source, start: int, stop: int, depth: int = 2) -> Generator[Batch, None, None]:
    """`batches.at(step)` for step in range(start, stop), up to `depth` of them prepared ahead by one thread.

    A failure in the thread is raised at its step. Closing the generator, or leaving its loop, ends the thread.
    """
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def offer(item: Batch | BaseException) -> None:
        while not closed.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def fill() -> None:
        try:
            with METER.ahead():
                for step in range(start, stop):
                    if closed.is_set():
                        return
                    offer(batches.at(step))
        except BaseException as error:  # handed to the reader, who raises it
            offer(error)

    thread = threading.Thread(target=fill, name="dnas-prefetch", daemon=True)
    thread.start()
    try:
        for _ in range(start, stop):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        thread.join()
