"""A training as plain data, which a process does by itself (`dnas.fanout`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dnas.data.dataset import Dataset
from dnas.errors import InputError
from dnas.fanout.task import Report, Task
from dnas.process.precision import Precision


@dataclass(frozen=True)
class Job:
    """One training from scratch."""

    architecture: Mapping[str, Any]
    """Its file."""
    recipe: Mapping[str, Any]
    """The fields of `dnas.train.recipe.Recipe`."""
    data: str | None
    """As on the command line."""
    data_seed: int
    """Draws the test split of data without one."""
    reading: Mapping[str, Any]
    """The fields of `dnas.data.reading.Reading`."""
    side: int
    """Of the images, in pixels."""
    channels: int
    """Of image files."""
    seed: int
    until: int | None = None
    """Epochs after which it stops; None for its end."""
    precision: Precision | None = None
    """In which steps compute; None: what suits the device."""

    def task(self, folder: Path, name: str, *, function: str = "dnas.train.job:trained", overwrite: bool = False,
             work: float = 1.0) -> Task:  # fmt: skip
        """The job as a task, whose result goes into a folder."""
        arguments = {"folder": os.path.abspath(folder), "job": asdict(self)}
        return Task(function, arguments | {"overwrite": overwrite}, name, work, again=arguments)


def place_of(dataset: Dataset) -> str | None:
    """Where another process finds the same data; raises `InputError` for arrays in memory, which are nowhere."""
    origin = dataset.origin
    if origin is None:
        raise InputError(f"data {dataset.name}", "arrays in memory, which other processes do not see",
                         accepted="a file or folder: numpy.savez writes one")  # fmt: skip
    return None if origin.path is None else os.path.abspath(origin.path)


def trained(report: Report, folder: str, job: Mapping[str, Any], overwrite: bool = False) -> None:
    """Trains what a job says, on from its last checkpoint where there is one; a folder as `dnas.train` makes it.

    Raises:
        UserError: see `dnas.train.run.run_training`.
        Stopped: asked to leave by a signal; everything is saved.
    """
    from dnas.process.backend import configure
    from dnas.process.wing import start

    configure()
    start().begin()
    from rich.console import Console

    from dnas.data.load import scan
    from dnas.data.reading import Reading
    from dnas.grammar.read import space_from_data
    from dnas.runs.folder import Claiming
    from dnas.runs.result import Result
    from dnas.train.memory import must_fit
    from dnas.train.recipe import Recipe
    from dnas.train.run import run_training
    from dnas.train.setup import make_setup

    own = Job(**job)
    network = space_from_data(dict(own.architecture), f"{folder}: architecture")
    dataset = scan(own.data, seed=own.data_seed, reading=Reading(**own.reading)).load(own.side, own.channels)
    fields: dict[str, Any] = {**own.recipe, "decay_epochs": tuple(own.recipe["decay_epochs"])}
    source = Result(network, network, None, None, (), {"seed": own.data_seed})
    setup = make_setup(
        source, dataset, Recipe(**fields), start="scratch", side=own.side, seed=own.seed, until=own.until,
        precision=own.precision,
    )  # fmt: skip
    must_fit(setup)
    run_training(
        setup, Path(folder), Console(quiet=True), Claiming(resume=not overwrite, overwrite=overwrite),
        watch=lambda step, line: report(step, setup.taken, line), commands=False,
    )  # fmt: skip
