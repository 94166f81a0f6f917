"""One task, in a process of its own: `python -m dnas.fanout.worker FOLDER PARENT`.

The folder holds the task; the value goes there. The process leaves when its parent, whose number it is told, has gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from dnas.errors import Stopped, UserError, what_to_try
from dnas.fanout.processes import MISTAKE, STANDING, TASK, VALUE
from dnas.fanout.run import PATIENCE_S
from dnas.fanout.task import Report, Task
from dnas.files import read_document, write_json

LOOK_S = 1.0
"""How often it is looked whether the parent is still there."""
EVERY_S = 0.5
"""Least time between two reports that are written."""


def main(folder: Path, parent: int) -> int:
    """Performs the task; the exit code."""
    _leave_with(parent)
    try:
        value = Task(**read_document(folder / TASK).data).perform(_reporting(folder))
        write_json(folder / VALUE, {"value": value})
    except Stopped as stop:
        return stop.exit_code
    except Exception as error:
        line = str(error) if isinstance(error, UserError) else what_to_try(error)
        if line is None:
            traceback.print_exc()
            return 1
        print(" ".join(line.split()), file=sys.stderr)
        return MISTAKE
    return 0


def _reporting(folder: Path, now: Callable[[], float] = time.monotonic) -> Report:
    last = -EVERY_S

    def report(step: int, steps: int, line: str) -> None:
        nonlocal last
        if now() - last >= EVERY_S:
            last = now()
            write_json(folder / STANDING, [step, steps, line])

    return report


def _leave_with(parent: int) -> None:
    """Asks this process to stop when its parent has gone, so that none works on unseen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    from dnas.process.interrupt import leave

    own, begun_by = Path(sys.argv[1]), int(sys.argv[2])
    code = main(own, begun_by)
    if os.getppid() != begun_by:  # nobody is left to read it
        shutil.rmtree(own, ignore_errors=True)
    leave(code)
