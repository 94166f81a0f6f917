"""Tasks of the tests, as processes find them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dnas.errors import Stopped, UserError
from dnas.fanout.task import Task
from dnas.process.interrupt import asked_to_stop

HERE = "tests.fanout.chores"


def doubled(report, number: int, seconds: float = 0.0) -> int:
    """Twice a number, after a while."""
    report(1, 2, "half way")
    time.sleep(seconds)
    return 2 * number


def mortal(report, file: str, times: int) -> int:
    """Is killed so many times, then gives how often it was begun."""
    tries = int(Path(file).read_text()) if Path(file).exists() else 0
    Path(file).write_text(str(tries + 1))
    if tries < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries + 1


def mistaken(report) -> None:
    raise UserError("no such image")


def mistaken_after(report, file: str) -> None:
    """A mistake that is made once another task is at work."""
    while not Path(file).exists():
        time.sleep(0.02)
    raise UserError("no such image")


def faulty(report) -> None:
    raise ValueError("this is ours")


def environment(report, names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def long(report, file: str) -> None:
    """Works until it is asked to stop; then it says so in a file."""
    with asked_to_stop() as asked:
        Path(file).write_text(str(os.getpid()))
        while not asked():
            time.sleep(0.02)
    Path(file).write_text("saved")
    raise Stopped("", asked())


def stubborn(report, file: str) -> None:
    """Does not stop when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def task(name: str, **arguments) -> Task:
    return Task(f"{HERE}:{name}", arguments, name)
