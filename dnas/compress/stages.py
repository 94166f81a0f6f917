"""Trainings that a compression consists of: each a result folder below the compression's own, so that it goes on where
it was stopped."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dnas.compress.asked import Watching
from dnas.learning import weights
from dnas.nn.supernet import Variables
from dnas.process.progress import progress
from dnas.runs.folder import Claiming
from dnas.runs.result import read_result
from dnas.train.memory import must_fit
from dnas.train.run import run_training
from dnas.train.setup import Setup


def trained(setup: Setup, folder: Path, watching: Watching, what: str) -> Variables:
    """The variables that a training comes to; it goes on where it was stopped, and is not run twice.

    Raises:
        UserError: too little memory, or what a training raises.
        Stopped: asked to leave by a signal.
    """
    must_fit(setup)
    watching.console.print(f"{what}: {setup.steps} steps", markup=False)
    with progress(watching.console, setup.steps, what) as update:
        run_training(
            setup, folder, Console(quiet=True), Claiming(resume=True), watch=update, commands=False,
            checkpoint_seconds=watching.checkpoint_seconds,
        )  # fmt: skip
    result = read_result(folder)
    assert result.weights is not None
    return weights.load(result.weights, result.network)
