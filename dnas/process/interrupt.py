"""Leaving a long run in good order: Ctrl-C or SIGTERM asks, the loop saves and ends.

    with asked_to_stop() as asked:
        for step in range(steps):
            ...
            if asked():
                save(step)
                raise Stopped(f"stopped after step {step}; continue with --resume", asked())

A second signal ends the process at once. Work that loses nothing but itself need not ask: inside `stopping_at_once` a
signal raises `Asked` where it is met.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from dnas.process import hosts

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ASKING: list[Callable[[int, object], None]] = []
"""Those who are told of a signal, the innermost last."""
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


class Asked(Exception):
    """A signal was received; `number` is its."""

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

    def note(number: int, _frame: object) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = number

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

    def leave(number: int, _frame: object) -> None:
        raise Asked(number)

    with _handled_by(leave):
        yield


def _left_to_the_first(number: int, _frame: object) -> None:
    """Of several processes the first one saves and leaves, which the others must not do before it."""


@contextmanager
def _handled_by(handler: Callable[[int, object], None]) -> Iterator[None]:
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
