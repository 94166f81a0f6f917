"""Runs that differ by their seed alone, from Python: what `--seeds` is on the command line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dnas.api.arrays import as_a_file
from dnas.api.guard import guarded
from dnas.api.results import Place, RunResult, in_memory, opened
from dnas.api.searching import LOST, run_search
from dnas.api.spaces import load
from dnas.api.training import remembered, run_training
from dnas.api.values import plain_arguments
from dnas.data.load import Data
from dnas.errors import InputError
from dnas.fanout.choose import HERE, chosen, one_after_the_other
from dnas.fanout.task import Report, Task
from dnas.files import read_document
from dnas.process.console import console
from dnas.runs.folder import Claiming, still_stands
from dnas.search import strategies
from dnas.seeds.run import RECORD, Given, check
from dnas.seeds.run import run_seeds as run
from dnas.space.space import Space

FUNCTIONS: dict[str, Callable[..., Any]] = {"search": run_search, "train": run_training}
"""By the command of the same purpose."""
NOT_EACH = ("resume", "quiet")
NO_MATTER = ("checkpoint_every", "devices", "tensorboard", "profile", "workers", "fanout", "readers")
"""Arguments that a result does not follow from."""


@dataclass(frozen=True, eq=False, repr=False)
class SeedsResult(os.PathLike[str]):
    """What several seeds gave; it stands for their folder wherever a path is taken.

    Attributes:
        place: their folder.
        data: what they were run on, where that was arrays in memory.
    """

    place: Place
    data: Data | None = None

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value:g}" for name, value in self.mean.items())
        return f"<SeedsResult {self.record['name']}, {len(self.record['seeds'])} seeds: mean {means}>"

    @property
    def folder(self) -> Path:
        """Where `seeds.json`, `seeds.md` and the folders of the runs lie."""
        return self.place.path

    @cached_property
    def record(self) -> dict[str, Any]:
        """All that `seeds.json` says: every run's `figures`, their mean and spread, how many networks there are."""
        return read_document(self.folder / RECORD).data

    @cached_property
    def runs(self) -> dict[int, Any]:
        """Seed -> the result, a `SearchResult`, `JointResult` or `TrainingResult`."""
        return {
            of["seed"]: opened(Place(self.folder / of["folder"], self.place), self.data) for of in self.record["runs"]
        }

    @property
    def mean(self) -> dict[str, float]:
        """Of each figure that all runs have: `macs`, `params`, accuracies from 0 to 1 (`validation`, `test`), and
        latencies of budgets in ms."""
        return self.record["mean"]

    @property
    def deviation(self) -> dict[str, float | None]:
        """Standard deviation of each figure over the runs, in its unit; None of a single run."""
        return self.record["standard_deviation"]

    @property
    def error(self) -> dict[str, float | None]:
        """Standard error of each mean, in its unit; None of a single run."""
        return self.record["standard_error"]

    @property
    def best(self) -> Any:
        """The run to take, the best by validation; None where that was not measured. Test images choose nothing."""
        take = self.record["take"]
        return None if take is None else self.runs[take["seed"]]


@plain_arguments
def run_seeds(
    function: Callable[..., Any], *arguments: Any, seeds: int = 5, seed: int = 0,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False, force: bool = False,
    workers: int | None = None, fanout: str = HERE, quiet: bool = False, **options: Any,
) -> SeedsResult:  # fmt: skip
    """Calls `dnas.run_search` or `dnas.run_training` with several seeds, each in a process of its own.

    Each run is the one that the command gives with its seed. A run that has ended is never run again: the same call
    goes on where it was stopped, and more seeds cost the new runs alone.

    Args:
        function: `dnas.run_search` or `dnas.run_training`.
        *arguments: what it is given first, as a space or an architecture.
        seeds: how many.
        seed: the first; the others follow it.
        out: folder of all runs and their table; a temporary one if not given.
        overwrite: replace what `out` holds of another call.
        force: go on although data or versions have changed.
        workers: how many run at a time; one a device if not given. The runs of a search with `joint` follow one
            another, and this many of its trainings are side by side.
        fanout: where they run: `processes` of this machine, `ray`, or the address of a Ray cluster.
        quiet: print nothing.
        **options: the function's other arguments, but for `resume`, and `terms`, which other processes are not given.

    Returns:
        Every run, and mean and spread of accuracies and costs.

    Raises:
        UserError: what the function raises, and an argument that cannot be handed to another process.
        Stopped: after Ctrl-C or SIGTERM; every run is saved.
    """
    command = next((name for name, known in FUNCTIONS.items() if known is function), None)
    if command is None:
        found = getattr(function, "__name__", function)
        raise InputError("function", "not run with seeds", found=found, accepted="dnas.run_search, dnas.run_training")
    given = _named(function, arguments, options)
    place = Place(out)
    with guarded(go_on="" if place.named else LOST):
        check(seed, seeds)
        first = next(iter(given))
        loaded, data = load(given[first]), remembered(given[first], given.pop("data", None))
        plain = {name: _plain(name, value) for name, value in given.items()}
        joint = command == "search" and (plain.get("strategy") or strategies.of(loaded)) == strategies.JOINT
        pool = one_after_the_other(alone=False) if joint else chosen(workers, fanout, alone=False)
        each = plain | ({"workers": workers, "fanout": fanout} if joint else {})
        with as_a_file(data, place.path, None) as file:
            arrays = in_memory(data) is not None
            each["data"] = os.path.abspath(file) if arrays and file else file

            def task(seed: int, folder: str, former: str | None) -> Task:
                own = each | {"out": os.path.abspath(folder), "force": force, "seed": seed}
                return Task("dnas.api.seeds:one", {"command": command, "given": own, "former": former}, f"seed {seed}")

            identity = {name: value for name, value in each.items() if name not in NO_MATTER}
            identity["data"] = Path(file).name if arrays and file else file
            run(
                Given(command, loaded.name, task, identity, seed, seeds, commands=False), place.path, pool,
                console(quiet), Claiming(overwrite=overwrite),
            )  # fmt: skip
    return SeedsResult(place, in_memory(data))


def one(report: Report, command: str, given: Mapping[str, Any], former: str | None) -> None:
    """One of the runs, in a process as the command is; what it prints tells how far it is. See `dnas.cli.task`."""
    from dnas.process.backend import configure
    from dnas.process.wing import start

    configure()
    if (given.get("devices") or 1) == 1:
        start().begin()
    anew = still_stands(Path(given["out"]), former)
    FUNCTIONS[command](**given, overwrite=anew, resume=not anew)


def _named(function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, the first one first; raises `TypeError` as a call does, and `InputError`."""
    for name in NOT_EACH:
        if name in options:
            raise InputError(name, "not of run_seeds, which always goes on", found=options[name])
    bound = inspect.signature(function).bind(*arguments, **options)
    named = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return named


def _as_loaded(space: Space) -> Any:
    """What loads a space again: its file, beside which an architecture has its weights, or the dict that it came as,
    with the classes that it was loaded with."""
    if os.path.isfile(space.source) and load(space.source).classes == space.classes:
        return os.path.abspath(space.source)
    data = space.document.data
    return {**data, "input": {**data["input"], "classes": space.classes}}


def _plain(name: str, value: Any) -> Any:
    """An argument as another process is given it; raises `InputError`."""
    if isinstance(value, RunResult | os.PathLike):
        return os.fspath(value)
    if isinstance(value, Space):
        return _as_loaded(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(name, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, part) for part in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    accepted = "texts, numbers, paths, results, and lists and dicts of these"
    raise InputError(name, "not handed to another process", found=type(value).__name__, accepted=accepted)
