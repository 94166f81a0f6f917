"""One training of a joint search, in a process of its own: `python -m dnas.joint.worker FOLDER`.

The folder holds the job (`job.json`); the result is a folder as `dnas.train` writes it, or `diverged.json` where the
loss became infinite. A process that was killed is repeated, and goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dnas.errors import Diverged, Stopped, UserError, what_to_try
from dnas.files import read_document, write_json
from dnas.joint.job import DIVERGED, JOB, Job

LOOK_S = 1.0
"""How often it is looked whether the search is still there."""


def main(folder: Path) -> int:
    """Trains what the folder says; the exit code."""
    _leave_with(os.getppid())
    try:
        _train(folder, Job(**read_document(folder / JOB).data))
    except Diverged as error:
        write_json(folder / DIVERGED, {"said": str(error)})
    except Stopped as stop:
        return stop.exit_code
    except Exception as error:
        line = str(error) if isinstance(error, UserError) else what_to_try(error)
        if line is None:
            raise
        print(line, file=sys.stderr)
        return 2
    return 0


def _train(folder: Path, job: Job) -> None:
    from dnas.process.backend import configure
    from dnas.process.wing import start

    configure()
    start().begin()
    from rich.console import Console

    from dnas.data.load import scan
    from dnas.grammar.read import space_from_data
    from dnas.runs.folder import Claiming
    from dnas.runs.result import Result
    from dnas.train.memory import must_fit
    from dnas.train.recipe import Recipe
    from dnas.train.run import run_training
    from dnas.train.setup import make_setup

    network = space_from_data(job.architecture, f"{folder / JOB}: architecture")
    dataset = scan(job.data, seed=job.seed, skip_bad=job.skip_bad).load(job.side, job.channels)
    fields: dict[str, Any] = {**job.recipe, "decay_epochs": tuple(job.recipe["decay_epochs"])}
    source = Result(network, network, None, None, (), {"seed": job.seed})
    setup = make_setup(
        source, dataset, Recipe(**fields), start="scratch", side=job.side, seed=job.seed, until=job.until
    )  # fmt: skip
    must_fit(setup)
    run_training(setup, folder, Console(quiet=True), Claiming(resume=True), commands=False)


def _leave_with(parent: int) -> None:
    """Asks this process to stop when the search has gone, so that none trains on unseen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    from dnas.process.interrupt import leave

    leave(main(Path(sys.argv[1])))
