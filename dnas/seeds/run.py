"""The driver of a command with several seeds: runs what is left, and writes the table.

seeds.json       every run's costs and accuracies, their mean and spread, which one to take; no clock, no host
seeds.md         the same for people
provenance.json  command, host and versions
seeds/           a folder for each seed, as the command writes it
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.errors import InputError
from dnas.fanout.run import fan_out
from dnas.fanout.task import Pool, Task
from dnas.files import write_atomic, write_json
from dnas.process.provenance import provenance, versions
from dnas.process.seed import checked_seed
from dnas.runs import following
from dnas.runs.folder import PROVENANCE, SEEDS, Claiming, Owner, claimed, still_stands
from dnas.seeds import table
from dnas.seeds.figures import best, outcome

RECORD, MARKDOWN = "seeds.json", "seeds.md"
MOST = 1000


@dataclass(frozen=True)
class Given:
    """A command that is run with several seeds."""

    command: str
    name: str
    """Of what it is run on, for people."""
    task: Callable[[int, str, str | None], Task]
    """Of a seed, the folder of its run, and what stands there of a former command and is to be replaced
    (`dnas.runs.folder.standing`)."""
    identity: Mapping[str, Any]
    """What it follows from, beside the seed (JSON values)."""
    seed: int
    """The first."""
    seeds: int
    commands: bool = True
    """Whether commands are told that go on from here."""


def check(seed: int, seeds: int) -> None:
    """Raises `InputError` for numbers that are not accepted."""
    if not 1 <= seeds <= MOST:
        raise InputError("--seeds", "out of range", found=seeds, accepted=f"1 to {MOST}")
    checked_seed(seed, seeds)


def folder_of(seed: int) -> str:
    """Of the run with a seed, in that of all."""
    return f"{SEEDS}/{seed}"


def run_seeds(given: Given, out: Path, pool: Pool, console: Any, claiming: Claiming) -> None:
    """Runs the command with every seed, as many at a time as the pool does, and writes the table.

    A run that is there is read; one that was interrupted goes on.

    Raises:
        UserError: another run's folder or one that cannot be written, and what a run raises.
        Stopped: asked to leave by a signal; every run is saved.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    owner = Owner(given.command, {"several": "seeds", "options": dict(given.identity), "versions": versions()})
    seeds = list(range(given.seed, given.seed + given.seeds))
    with claimed(out, owner, claiming, say) as claim:
        say(f"{given.name}: dnas.{given.command} with seeds {seeds[0]} to {seeds[-1]}, {pool.count} at a time")
        tasks = [given.task(s, str(claim.folder / folder_of(s)), claim.replaces.get(str(s))) for s in seeds]

        def ended(n: int, _value: None) -> None:
            say(f"[{n + 1} of {len(seeds)}] seed {seeds[n]} has ended")

        fan_out(pool, tasks, console, "running", ended, claiming.overwrite)
        outcomes = [outcome(seed, claim.folder, folder_of(seed)) for seed in seeds]
        with claim.result(lambda staged: None) as staged:
            write_json(staged / RECORD, table.document(given.command, given.name, outcomes))
            write_atomic(staged / MARKDOWN, table.markdown(given.command, given.name, outcomes))
            write_json(staged / PROVENANCE, provenance() | claim.record(staged))
        for name, former in claim.replaces.items():
            if name not in map(str, seeds) and still_stands(claim.folder / SEEDS / name, former):
                shutil.rmtree(claim.folder / SEEDS / name, ignore_errors=True)
        console.print(table.rich_table(outcomes))
        for line in table.said(outcomes):
            say(line)
        say(f"written to {claim.folder}: {RECORD}, {MARKDOWN}, {SEEDS}/")
        take = best(outcomes) if given.commands else None
        for line in [] if take is None else following.lines(_next(given.command, claim.folder / take.folder)):
            say(line)


def _next(command: str, folder: Path) -> list[following.Next]:
    """What can be done with the run to take."""
    trained = [(following.command("train", folder), "trains its network on")] if command == "search" else []
    return [*trained, (following.command("evaluate", folder), "accuracy by class"),
            (following.command("report", folder), "pictures")]  # fmt: skip
