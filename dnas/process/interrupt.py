"""Leaving a long run in good order: Ctrl-C or SIGTERM asks, the loop saves and ends.

    with asked_to_stop() as asked:
        for step in range(steps):
            ...
            if asked():
                save(step)
                raise Stopped(f"stopped after step {step}; continue with --resume", asked())

A second signal ends the process at once. Work that loses nothing but itself need not ask: inside `stopping_at_once` a
signal raises `Asked` where it is met.

Python drops what is raised in a callback of its garbage collector, such as jax has, and goes on: there a signal is put
off for a moment instead.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from dnas.process import hosts

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ASKING: list[Callable[[int, FrameType | None], None]] = []
"""Those who are told of a signal, the innermost last."""
LATER_S = 0.02
"""For which a signal is put off."""
COMPILING = "compiling"
"""Name of threads that are inside the compiler, which cannot be interrupted."""


def leave(code: int) -> NoReturn:
    """Ends the process, without waiting for a compiler at work.

    Such a thread, torn down with the interpreter, would abort the process with a message of C++.
    """
    hosts.ends(code)
    if any(thread.name == COMPILING for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class Asked(BaseException):
    """A signal was received; `number` is its. Like Ctrl-C in Python it is no `Exception`, which a server or a library
    that it meets would catch and pass over."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int]]:
    """A function that gives the number of the signal received so far, 0 for none.

    Outside the main thread signals cannot be caught, and the function always gives 0. Where one stands inside another,
    as a training in a comparison of several, the outer one learns of the signal when the inner one ends.
    """
    received = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            raise_in(frame, number, KeyboardInterrupt(number))
        received = received or number

    with _handled_by(note):
        _ASKING.append(note)
        try:
            yield lambda: received
        finally:
            _ASKING.pop()
    if received and _ASKING:
        _ASKING[-1](received, None)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Inside, a signal raises `Asked` in the main thread."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise_in(frame, number, Asked(number))

    with _handled_by(leave):
        yield


def never_dropped() -> None:
    """Ctrl-C raises `KeyboardInterrupt` as it does in Python, but never where that is dropped; for whole commands."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: raise_in(frame, number, KeyboardInterrupt()))


def raise_in(frame: FrameType | None, number: int, error: BaseException) -> None:
    """Raises an error for a signal that was met in `frame`; where it would be dropped the signal is sent once more."""
    dropping = [code for callback in gc.callbacks if (code := getattr(callback, "__code__", None)) is not None]
    while frame is not None:
        if frame.f_code in dropping:
            again = threading.Timer(LATER_S, _sent, (number,))
            again.daemon = True
            return again.start()
        frame = frame.f_back
    raise error


def _sent(number: int) -> None:
    """Sends this process a signal, which interrupts waits too; on Windows `os.kill` would end the process."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def _left_to_the_first(number: int, _frame: object) -> None:
    """Of several processes the first one saves and leaves, which the others must not do before it."""


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if hosts.follows():
        handler = _left_to_the_first
    former = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler_before in former.items():
            signal.signal(number, handler_before)
