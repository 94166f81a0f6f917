"""Readers: processes, or threads, that decode images into arrays while the program does something else.

Processes are plain ones with pipes (`dnas.data.stream.worker`): they import numpy and Pillow and nothing of the
program that starts them, so they are small, work from any script or notebook, and end when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from dnas.data.stream.decode import decoded
from dnas.data.stream.places import Places
from dnas.data.stream.worker import HEAD
from dnas.errors import DataError

MOST = 16
"""Readers that are started where nobody says how many."""
AT_ONCE = 8
"""Images of one request to a process: its share of a batch is fetched in parts, so that none waits for the last."""
AHEAD = 2
"""Requests that a process has got, so that it need not wait for the next one."""
PIPE = 1 << 20
"""Bytes of a pipe, where the system lets one choose: a process goes on decoding while nobody fetches."""


class Batch:
    """Images that are being decoded into an array; `wait` for them."""

    def __init__(self, numbers: np.ndarray, pixels: np.ndarray):
        self.numbers, self.pixels = numbers, pixels
        self.bad: dict[int, str] = {}
        """Row -> why it could not be read."""
        self._left, self._lock, self._ready = len(numbers), threading.Lock(), threading.Event()
        self._error: Exception | None = None
        if not len(numbers):
            self._ready.set()

    def put(self, row: int, bad: str | None) -> None:
        """A row is done."""
        with self._lock:
            if bad is not None:
                self.bad[row] = bad
            self._left -= 1
            if not self._left:
                self._ready.set()

    def fail(self, error: Exception) -> None:
        """No more will come."""
        self._error = error
        self._ready.set()

    def wait(self) -> None:
        """Until all rows are there; raises `DataError` where a reader failed."""
        self._ready.wait()
        if self._error is not None:
            raise self._error


class Part(NamedTuple):
    """Rows of a batch that one reader decodes."""

    batch: Batch
    rows: range


class Readers(Protocol):
    """Who decodes."""

    def read(self, numbers: np.ndarray, pixels: np.ndarray) -> Batch:
        """Begins to decode images into rows of `pixels`, uint8 [N, side, side, channels], in the order of requests."""
        ...

    def close(self) -> None: ...


def default_readers() -> int:
    """One for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST, cores))


def start(places: Places, side: int, channels: int, count: int) -> Readers:
    """`count` processes; with 0, threads of this one."""
    kind = Processes if count else Threads
    return kind(places, side, channels, count or default_readers())


class _Readers:
    """A queue of parts, and a thread for each reader that takes them."""

    def __init__(self, places: Places, side: int, channels: int, count: int):
        self.places, self.side, self.channels = places, side, channels
        self.parts: queue.SimpleQueue[Part | None] = queue.SimpleQueue()
        self.broken: list[Exception] = []
        self.count = count
        for number in range(count):
            threading.Thread(target=self._serve, args=(number,), name=f"dnas-reader-{number}", daemon=True).start()

    def read(self, numbers: np.ndarray, pixels: np.ndarray) -> Batch:
        batch = Batch(numbers, pixels)
        size = max(1, min(AT_ONCE, len(numbers) // self.count))
        for first in range(0, len(numbers), size):
            self.parts.put(Part(batch, range(first, min(first + size, len(numbers)))))
        if self.broken:
            batch.fail(self.broken[0])
        return batch

    def close(self) -> None:
        for _ in range(self.count):
            self.parts.put(None)

    def _serve(self, number: int) -> None:
        raise NotImplementedError


class Threads(_Readers):
    """Threads of this process: nothing is started, but decoding takes from the program's own time."""

    def _serve(self, number: int) -> None:
        while (part := self.parts.get()) is not None:
            try:
                for row in part.rows:
                    self._decode(part.batch, row)
            except Exception as error:
                part.batch.fail(error)

    def _decode(self, batch: Batch, row: int) -> None:
        address = self.places.address(int(batch.numbers[row]))
        found = decoded(self.places.kind, address, self.side, self.channels)
        if isinstance(found, np.ndarray):
            batch.pixels[row] = found
        batch.put(row, found if isinstance(found, str) else None)


class Processes(_Readers):
    """Processes, each with a thread that hands it requests and takes pixels from it into their places."""

    def __init__(self, places: Places, side: int, channels: int, count: int):
        self.processes, self.closed = [_process() for _ in range(count)], False
        super().__init__(places, side, channels, count)

    def close(self) -> None:
        super().close()
        self.closed = True
        for process in self.processes:
            process.kill()  # it only reads: nothing is lost
        for process in self.processes:
            process.wait()

    def _serve(self, number: int) -> None:
        process, waiting = self.processes[number], deque[Part]()
        try:
            while self._ask(process, waiting):
                self._take(process, waiting[0])
                waiting.popleft()
        except (OSError, EOFError, ValueError) as error:
            if not self.closed:
                self._break(_died(process, self._next(waiting)), waiting, error)

    def _ask(self, process: subprocess.Popen[bytes], waiting: deque[Part]) -> bool:
        """Hands the process requests until it has enough; false where there is nothing more to do."""
        while len(waiting) < AHEAD:
            try:
                part = self.parts.get(block=not waiting)
            except queue.Empty:
                return True
            if part is None:
                return bool(waiting)
            waiting.append(part)
            addresses = [self.places.address(int(part.batch.numbers[row])) for row in part.rows]
            asked = {"kind": self.places.kind, "side": self.side, "channels": self.channels, "addresses": addresses}
            assert process.stdin is not None
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        return True

    def _take(self, process: subprocess.Popen[bytes], part: Part) -> None:
        assert process.stdout is not None
        for row in part.rows:
            is_image, length = HEAD.unpack(_exactly(process.stdout, bytearray(HEAD.size)))
            if is_image:
                _exactly(process.stdout, part.batch.pixels[row].reshape(-1).data)
                part.batch.put(row, None)
            else:
                part.batch.put(row, bytes(_exactly(process.stdout, bytearray(length))).decode())

    def _next(self, waiting: deque[Part]) -> str:
        return self.places.shown(int(waiting[0].batch.numbers[waiting[0].rows[0]])) if waiting else ""

    def _break(self, error: DataError, waiting: deque[Part], cause: Exception) -> None:
        """Nobody waits for what will not come."""
        error.__cause__ = cause
        self.broken.append(error)
        for part in waiting:
            part.batch.fail(error)
        while True:
            try:
                part = self.parts.get_nowait()
            except queue.Empty:
                return
            if part is not None:
                part.batch.fail(error)


def _process() -> subprocess.Popen[bytes]:
    """A reader; signals of the terminal do not reach it, and its libraries start no threads of their own."""
    home = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dnas.data.stream.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | own, process_group=0,
    )  # fmt: skip
    if process.stdout is not None:
        _widen(process.stdout)
    return process


def _widen(pipe: IO[bytes]) -> None:
    """Makes a pipe hold more, where the system lets one choose."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _exactly(stream: Any, into: Any) -> Any:
    """Fills a buffer."""
    if stream.readinto(into) < len(into):
        raise EOFError
    return into


def _died(process: subprocess.Popen[bytes], reading: str) -> DataError:
    """The one line on a process that ended by itself."""
    code = process.wait()
    how = f"with exit code {code}"
    if code < 0:
        how = f"by signal {-code} ({signal.Signals(-code).name})"
        how += ", as systems do where memory runs out" * (code == -signal.SIGKILL)
    where = f" while it read {reading}" if reading else ""
    return DataError(f"a process that reads images ended {how}{where}; --readers 0 reads in this process instead")
