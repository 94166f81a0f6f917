"""A signal ends a command in good order at any moment; none is lost."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dnas import __main__ as command
from dnas.process.interrupt import Asked, asked_to_stop, never_dropped, stopping_at_once


@contextmanager
def met_by_the_collector(number: int) -> Iterator[None]:
    """Inside, a signal arrives once while a callback of the garbage collector runs, as those of jax do."""
    left = [number]

    def callback(phase: str, _about: object) -> None:
        if phase == "stop" and left:
            os.kill(os.getpid(), left.pop())

    gc.callbacks.append(callback)
    try:
        yield
    finally:
        gc.callbacks.remove(callback)


def work() -> None:
    """Has the collector run, then goes on for some time."""
    gc.collect()
    for _ in range(200):
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_garbage_collector_meets_is_not_dropped(number):
    """Python says `Exception ignored in` there, and a search went on to its end."""
    with pytest.raises(Asked) as asked, met_by_the_collector(number), stopping_at_once():
        work()
    assert asked.value.number == number
    with pytest.raises(KeyboardInterrupt) as ended, met_by_the_collector(number), asked_to_stop():
        os.kill(os.getpid(), number)  # the second one ends at once
        work()
    assert ended.value.args == (number,), "the exit code is the signal's"


def test_nor_is_ctrl_c_before_a_run_has_begun():
    former = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        never_dropped()
        with pytest.raises(KeyboardInterrupt), met_by_the_collector(signal.SIGINT):
            work()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup asks for
        never_dropped()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_what_catches_every_exception_does_not_catch_a_signal():
    with pytest.raises(Asked), stopping_at_once():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except Exception:
            pytest.fail("a server passes over what it catches so")


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(monkeypatch, capsys):
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_module", interrupted)
    with pytest.raises(SystemExit) as left:
        command.run_command("count", [], "dnas count")
    assert left.value.code == 130 and capsys.readouterr().err == "stopped\n"
