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

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked(Exception):
    """A signal was received; `number` is its."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int]]:
    """A function that gives the number of the signal received so far, 0 for none.

    Outside the main thread signals cannot be caught, and the function always gives 0.
    """
    received = 0

    def note(number: int, _frame: object) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = number

    with _handled_by(note):
        yield lambda: received


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Inside, a signal raises `Asked` in the main thread."""

    def leave(number: int, _frame: object) -> None:
        raise Asked(number)

    with _handled_by(leave):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler_before in former.items():
            signal.signal(number, handler_before)
