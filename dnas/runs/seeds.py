"""The folder of one command with several seeds (`dnas.seeds`): its runs, and what they are worth together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from dnas.errors import InputError
from dnas.files import read_document
from dnas.files.sets import current
from dnas.runs.converted import converted
from dnas.runs.folder import SEEDS
from dnas.runs.records import Count

RECORD = "seeds.json"


class SeedRun(msgspec.Struct, frozen=True):
    """A run, in the folder of all; its costs and accuracies by name."""

    seed: Count
    folder: str
    figures: dict[str, float]


class Taken(msgspec.Struct, frozen=True):
    """The run to take."""

    seed: Count
    folder: str
    by: str


class Several(msgspec.Struct, frozen=True):
    """The whole file; mean and spread are of the figures that every run has."""

    command: str
    name: str
    runs: Annotated[tuple[SeedRun, ...], msgspec.Meta(min_length=1)]
    mean: dict[str, float]
    standard_deviation: dict[str, float | None]
    standard_error: dict[str, float | None]
    different_networks: Count
    take: Taken | None


def runs_within(folder: Path) -> list[Path]:
    """The runs of a folder of several seeds, the smallest first; of any other folder itself."""
    try:
        found = [path for path in (folder / SEEDS).iterdir() if path.name.isdecimal() and path.is_dir()]
    except (OSError, ValueError):
        return [folder]
    return sorted(found, key=lambda path: int(path.name)) or [folder]


def parted(run: Path) -> tuple[str, ...]:
    """The parts of a run's path by which it is named: that of a seed has the seed in words."""
    *above, parent, name = ("", "", *run.absolute().parts)
    return (*above, f"seed {name}") if parent == SEEDS and name.isdecimal() else (*above, parent, name)


def several_among(folders: Sequence[str]) -> dict[Path, Several]:
    """The folders of several seeds that some runs are of, and their records, where all runs have ended."""
    above = (Path(run).absolute().parents for run in folders)
    found = dict.fromkeys(parents[1] for parents in above if len(parents) > 1 and parents[0].name == SEEDS)
    return {folder: record for folder in found if (record := read_several(folder)) is not None}


def read_several(folder: Path) -> Several | None:
    """The record of a folder, None while its runs go on; raises `InputError` where it is damaged."""
    file = folder / RECORD
    if not current(file).is_file():
        return None
    found = converted(read_document(file).data, Several, str(file))
    for name in found.mean | found.standard_deviation | found.standard_error:
        lacking = [one for one in found.runs if name not in one.figures]
        if lacking or not all(name in of for of in (found.mean, found.standard_deviation, found.standard_error)):
            raise InputError(f"{file}: mean.{name}", "not a figure of every run, with its mean, deviation and error")
    return found
