"""Images on disk in the place of an array: `images[positions]` decodes them, `images[3:9]` is a part of them.

Positions are those of the data set, so whoever takes batches from an array takes the same ones from here. `soon` tells
what will be asked next, which threads then decode while the program computes; `in_order` has processes decode a whole
sequence of batches. Neither changes what is read.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dnas.data.stream.decode import Decoded, decode_into
from dnas.data.stream.feed import Feed, Parts
from dnas.data.stream.places import Places, listing
from dnas.errors import DataError

SOON = 6
"""Batches that are asked for before their time: of the weights and of the choices the present one and two more."""
MOST = 16
"""Readers where nobody says how many."""
NAMED = 10
"""Unreadable images that are told one by one."""
Array = TypeVar("Array", bound="np.ndarray | Streamed")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def default_readers() -> int:
    """One for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST, cores))


class Pending(NamedTuple):
    """Images that threads are decoding."""

    pixels: np.ndarray
    rows: list[Future[str | None]]

    def cancel(self) -> None:
        """Those that no thread has begun are not decoded."""
        for future in self.rows:
            future.cancel()

    def wait(self) -> Decoded:
        """All of them."""
        reasons = ((row, future.result()) for row, future in enumerate(self.rows))
        return Decoded(self.pixels, {row: reason for row, reason in reasons if reason is not None})


class Ordered(NamedTuple):
    """Batches that processes decode ahead."""

    at: Callable[[int], np.ndarray]
    """Pixels of the batch of a step."""
    rest: Callable[[], None]
    """Ends the processes until another batch is asked for."""


class Stream:
    """The images of a source, and threads that decode what is asked for by position."""

    def __init__(
        self, where: str, places: Places, labels: np.ndarray, side: int, channels: int, readers: int, skip_bad: bool,
        say: Callable[[str], None] = _to_stderr,
    ):  # fmt: skip
        self.where, self.places, self.labels = where, places, labels
        self.side, self.channels, self.readers, self.skip_bad, self.say = side, channels, readers, skip_bad, say
        self._told: set[tuple[int, int]] = set()
        """Unreadable images, each with the one that takes its place."""
        self._threads = ThreadPoolExecutor(default_readers(), "dnas-reader")
        self._soon: OrderedDict[bytes, Pending] = OrderedDict()
        self._last: tuple[bytes, Decoded] | None = None
        """A step may ask for its batch again, once for each network that learns from it."""
        self._lock = threading.RLock()

    def expect(self, numbers: np.ndarray) -> None:
        """Begins to decode images."""
        with self._lock:
            key = numbers.tobytes()
            if key in self._soon or (self._last is not None and self._last[0] == key):
                return
            while len(self._soon) >= SOON:
                self._soon.popitem(last=False)[1].cancel()
            self._soon[key] = self._begun(numbers)

    def forget(self) -> None:
        """Drops what was asked for before its time."""
        with self._lock:
            while self._soon:
                self._soon.popitem()[1].cancel()

    def decoded(self, numbers: np.ndarray) -> Decoded:
        """Images, all of them there; those that cannot be read are among its `bad`."""
        key = numbers.tobytes()
        with self._lock:
            if self._last is not None and self._last[0] == key:
                return self._last[1]
            pending = self._soon.pop(key, None) or self._begun(numbers)
        found = pending.wait()
        self._last = key, found
        return found

    def _begun(self, numbers: np.ndarray) -> Pending:
        pixels = np.zeros((len(numbers), self.side, self.side, self.channels), np.uint8)
        places = self.places
        return Pending(pixels, [
            self._threads.submit(decode_into, row, places, int(n)) for row, n in zip(pixels, numbers, strict=True)
        ])  # fmt: skip

    def stand_in(self, number: int, reason: str, among: np.ndarray) -> np.ndarray:
        """Pixels for an unreadable image: the next readable one of its class `among` others, sorted numbers.

        Raises:
            DataError: unless `skip_bad`; or no image of the class can be read.
        """
        name = self.places.shown(number)
        if not self.skip_bad:
            problem = f"{name} cannot be read: {reason}; repair or remove it, or --skip-bad"
            raise DataError(f"{self.where}: {problem}")
        own = among[self.labels[among] == self.labels[number]]
        at = int(np.searchsorted(own, number))
        for candidate in np.roll(own, -at):
            if candidate != number and not (found := self.decoded(np.array([candidate]))).bad:
                self._tell(number, int(candidate), reason)
                return found.pixels[0]
        problem = f"{name} cannot be read ({reason}), nor can another image of its class in the same part of the data"
        raise DataError(f"{self.where}: {problem}")

    def _tell(self, number: int, instead: int, reason: str) -> None:
        if (number, instead) in self._told:
            return
        self._told.add((number, instead))
        count = len(self._told)
        if count <= NAMED:
            shown = self.places.shown
            self.say(f"left out: {shown(number)} cannot be read ({reason}); {shown(instead)} takes its place")
        if count == NAMED:
            self.say("left out: further images that cannot be read are not named")


class Streamed:
    """Some images of a stream, as an array of uint8 [N, side, side, channels] that is decoded when it is indexed.

    Args:
        among: numbers of the images that may take the place of unreadable ones; its own if not given.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, stream: Stream, numbers: np.ndarray, among: np.ndarray | None = None):
        self.stream, self.numbers = stream, np.asarray(numbers, np.int64)
        self.among = self.numbers if among is None else among

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.numbers), self.stream.side, self.stream.side, self.stream.channels)

    @property
    def size(self) -> int:
        """Bytes that they would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, at: Any) -> Any:
        """Some of them for a slice, as a view of an array is; pixels for positions."""
        if isinstance(at, slice):
            return Streamed(self.stream, self.numbers[at], self.among)
        at = np.asarray(at)
        if at.ndim == 0:
            return self._pixels(self.numbers[at[None]])[0]
        return self._pixels(self.numbers[at])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = self._pixels(self.numbers)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def take(self, at: Any) -> Streamed:
        """A part of them, not decoded, that keeps to itself: its unreadable images are replaced by its own."""
        return Streamed(self.stream, self.numbers[at])

    def within(self, index: np.ndarray) -> Streamed:
        """The same images, of which those at `index` alone take the place of unreadable ones."""
        return Streamed(self.stream, self.numbers, self.numbers[index])

    def soon(self, at: np.ndarray) -> None:
        """Says which will be asked for next."""
        self.stream.expect(_apart(self.numbers[at])[0])

    def in_order(self, chosen: Callable[[int], np.ndarray], sharing: int) -> Ordered | None:
        """The batches of steps, decoded ahead by processes; None where the readers are threads.

        Args:
            chosen: numbers of the images of a step; can be pickled.
            sharing: sequences among which the readers are parted.
        """
        stream = self.stream
        if not stream.readers:
            return None
        parts = partial(Parts, stream.places, stream.side, stream.channels, chosen)
        feed = Feed(parts, max(1, stream.readers // sharing))
        return Ordered(lambda step: self._whole(chosen(step), feed.at(step)), feed.close)

    def content(self) -> bytes:
        """sha256 over name, stored bytes and label of every image, in order."""
        return listing(self.stream.places, self.stream.labels, self.numbers.tolist())

    def _whole(self, numbers: np.ndarray, found: Decoded) -> np.ndarray:
        """Pixels of images, with others in the places of unreadable ones."""
        for row, reason in found.bad.items():
            found.pixels[row] = self.stream.stand_in(int(numbers[row]), reason, np.sort(self.among))
        return found.pixels

    def _pixels(self, numbers: np.ndarray) -> np.ndarray:
        wanted, back = _apart(numbers)
        pixels = self._whole(wanted, self.stream.decoded(wanted))
        return pixels if back is None else pixels[back]


def _apart(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Every number once, so that no image is decoded twice; and the places of all, where some are the same."""
    wanted, back = np.unique(numbers, return_inverse=True)
    return (numbers, None) if len(wanted) == len(numbers) else (wanted, back)


def taken(images: Array, at: np.ndarray | slice) -> Array:
    """A part of the images, of which those on disk stay there."""
    return images.take(at) if isinstance(images, Streamed) else images[at]  # pyright: ignore


def within(images: Array, index: np.ndarray) -> Array:
    """The same images, to be read at `index` alone: from there comes what takes the place of an unreadable one."""
    return images.within(index) if isinstance(images, Streamed) else images  # pyright: ignore


def joined(first: Array, second: Array) -> Array:
    """Images one after the other."""
    if isinstance(first, Streamed) and isinstance(second, Streamed):
        return Streamed(first.stream, np.concatenate([first.numbers, second.numbers]))  # pyright: ignore
    return np.concatenate([first, second])  # pyright: ignore


def soon(images: Any, at: np.ndarray) -> None:
    """Says which images will be asked for next, to those who want to know."""
    if isinstance(images, Streamed):
        images.soon(at)
