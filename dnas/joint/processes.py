"""Trainings side by side: processes, one a device unless more are asked for.

What a training gives does not depend on the others, so any number of them at a time gives the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.errors import InputError, Stopped, UserError
from dnas.process.interrupt import asked_to_stop

COMMAND = ("-m", "dnas.joint.worker")
"""Of a training, before its folder."""
LOOK_S = 0.1
MOST = 256
SIGNALLED = 128
"""Exit codes above it are those of signals, as a shell gives them."""
REPEATS = 2
"""Times that a training that was killed is repeated."""
_ASK = "import jax; print(jax.default_backend(), jax.local_device_count())"


@dataclass(frozen=True)
class Devices:
    """What trainings run on."""

    platform: str
    count: int

    def environment(self, place: int, workers: int, environment: Mapping[str, str]) -> dict[str, str]:
        """Of the process at a place among so many: a device of its own, shared where there are fewer devices."""
        found = dict(environment)
        if self.platform != "gpu":
            return found
        visible = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.count)))
        found["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place % self.count]
        if workers > self.count:
            found.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * self.count / workers:.3f}")
        return found


def devices(environment: Mapping[str, str]) -> Devices:
    """Those that a training would find; asked of a process, as this one must not take any of their memory."""
    asked = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, env=dict(environment))
    words = asked.stdout.split()
    if asked.returncode or len(words) != 2:
        raise UserError(f"JAX finds no device: {(asked.stderr.strip().splitlines() or [''])[-1]}")
    platform, count = words[0], int(words[1])
    return Devices(platform, 1 if platform == "cpu" else count)


def chosen(count: int | None) -> Workers:
    """As many processes as asked for, one a device if not; from now on this process computes on the CPU alone, so that
    trainings have the devices for themselves.

    Raises:
        InputError: a number out of range.
        UserError: JAX finds no device.
    """
    if count is not None and not 1 <= count <= MOST:
        raise InputError("--workers", "out of range", found=count, accepted=f"1 to {MOST}")
    environment = dict(os.environ)
    found = devices(environment)
    os.environ["JAX_PLATFORMS"] = "cpu"
    return Workers(count or found.count, found, environment)


class Workers:
    """Runs jobs, each in its folder, `count` at a time."""

    def __init__(self, count: int, found: Devices, environment: Mapping[str, str]):
        self.count, self.devices, self.environment = count, found, environment

    def run(self, folders: Sequence[Path], ended: Callable[[Path], None]) -> None:
        """Until every job has ended; `ended` is told of each as it does.

        Raises:
            Stopped: asked to leave by a signal; every training is saved.
            UserError: what a training says that cannot be run.
        """
        waiting, running = list(folders), dict[int, _Process]()
        with asked_to_stop() as asked:
            try:
                while waiting or running:
                    free = [n for n in range(self.count) if n not in running]
                    for place in free[: len(waiting)]:
                        running[place] = self._begun(waiting.pop(0), place)
                    time.sleep(LOOK_S)
                    if asked():
                        raise Stopped("stopped; the same command goes on", asked())
                    for place, process in list(running.items()):
                        if (code := process.child.poll()) is None:
                            continue
                        del running[place]
                        if process.killed(code):
                            running[place] = self._begun(process.folder, place, process.repeats + 1)
                        else:
                            process.check(code)
                            ended(process.folder)
            finally:
                for process in running.values():
                    process.child.terminate()
                for process in running.values():
                    process.child.wait()

    def _begun(self, folder: Path, place: int, repeats: int = 0) -> _Process:
        environment = self.devices.environment(place, self.count, self.environment)
        said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        child = subprocess.Popen(
            [sys.executable, *COMMAND, str(folder)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=said, env=environment, start_new_session=True,
        )  # fmt: skip
        return _Process(folder, child, said, repeats)


@dataclass(frozen=True)
class _Process:
    """A training at work; signals reach it from the search alone, which asks each to save."""

    folder: Path
    child: subprocess.Popen[Any]
    said: Any
    repeats: int

    def killed(self, code: int) -> bool:
        """Whether it was killed, and is to be repeated."""
        return (code < 0 or code > SIGNALLED) and self.repeats < REPEATS

    def check(self, code: int) -> None:
        """Raises `UserError` where the training did not end."""
        if code == 0:
            return
        self.said.seek(0)
        last = (self.said.read().strip().splitlines() or [f"it ended with exit code {code}"])[-1]
        raise UserError(f"a training failed: {last} ({self.folder})")
