"""Tasks on this machine: each in a process of its own, born anew, so that its memory goes when it ends.

A process is told its task and tells its value by files in a folder of its own, which is temporary: what a task is for
it writes where it was asked to.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnas.fanout.devices import Devices
from dnas.fanout.task import End, Running, Standing, Task
from dnas.files import read_document, write_json

COMMAND = ("-P", "-m", "dnas.fanout.worker")
"""Of a process, before its folder; -P: no file of the working directory stands in for a module."""
TASK, VALUE, STANDING, SAID, SHOWN = "task.json", "value.json", "standing.json", "said.txt", "shown.txt"
TAIL = 2000
"""Bytes that are read of what a task has shown."""
SIGNALLED = 128
"""Exit codes above it are those of signals, as a shell gives them."""
MISTAKE = 2
"""Exit code of what is said in one line."""


class Processes:
    """Begins tasks as processes of this machine, `count` at a time."""

    def __init__(self, count: int, devices: Devices, environment: Mapping[str, str]):
        self.count, self.devices, self.environment = count, devices, environment

    def begin(self, task: Task, place: int) -> Running:
        """Begins a task."""
        return Process(task, self.devices.environment(place, self.count, self.environment))


class Process:
    """A task at work in a process of its own, whose working directory is this one's.

    Signals of the terminal reach it from this process alone, which asks it to save.
    """

    def __init__(self, task: Task, environment: Mapping[str, str], directory: str | None = None):
        self.folder = Path(tempfile.mkdtemp(prefix="dnas-task-"))
        write_json(self.folder / TASK, task.to_json())
        with (self.folder / SAID).open("w") as said, (self.folder / SHOWN).open("w") as shown:
            self.child = subprocess.Popen(
                [sys.executable, *COMMAND, str(self.folder), str(os.getpid())], stdin=subprocess.DEVNULL,
                stdout=shown, stderr=said, env=_with_dnas(environment), cwd=directory,
                start_new_session=True,
            )  # fmt: skip
        self.end: End | None = None

    def poll(self) -> End | None:
        """Its end; None while it is at work."""
        if self.end is None and (code := self.child.poll()) is not None:
            self.end = self._ended(code)
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.end

    def standing(self) -> Standing:
        """What the task has reported, else the last line that it has shown."""
        file = self.folder / STANDING
        if self.end is not None:
            return Standing()
        return Standing(*read_document(file).data) if file.is_file() else Standing(line=_last(self.folder / SHOWN))

    def stop(self) -> None:
        """Asks it to save and leave."""
        self.child.terminate()

    def kill(self) -> None:
        """Ends it at once, where it is still there."""
        self.child.kill()
        self.child.wait()
        self.poll()

    def _ended(self, code: int) -> End:
        if code == 0:
            return End(value=read_document(self.folder / VALUE).data["value"])
        if code < 0 or code > SIGNALLED:
            return End(lost=f"by {_signal(-code if code < 0 else code - SIGNALLED)}")
        said = (self.folder / SAID).read_text(errors="replace").strip()
        last = (said.splitlines() or [f"it ended with exit code {code}"])[-1]
        return End(failed=last) if code == MISTAKE else End(fault=said or last)


def _with_dnas(environment: Mapping[str, str]) -> dict[str, Any]:
    """An environment in which this very dnas is found, wherever this process has found it; installed packages are."""
    home = Path(__file__).parents[2]
    if home.name in ("site-packages", "dist-packages"):
        return dict(environment)
    paths = [str(home), *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _last(file: Path) -> str:
    """The last line of a file of any length."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL))
        lines = stream.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines[:-1]) if line.strip()), "")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
