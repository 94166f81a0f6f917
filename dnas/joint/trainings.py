"""The trainings of a joint search: each a folder of its own, as `dnas.train` makes it, kept, and never run twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dnas.fanout.run import fan_out
from dnas.fanout.task import Pool
from dnas.graph.architecture import architecture
from dnas.joint.early import Curve
from dnas.joint.pairs import Pairs, Row
from dnas.joint.task import DIVERGED, FUNCTION
from dnas.process.precision import Precision
from dnas.runs.history import HISTORY, read_epochs
from dnas.space import units
from dnas.train.folders import folder_of, has_ended
from dnas.train.job import Job
from dnas.train.recipe import Recipe, RecipeSpace, with_values


@dataclass(frozen=True, eq=False)
class Images:
    """The data of all trainings."""

    place: str | None
    """Where the processes of trainings find them (`dnas.train.job.place_of`)."""
    reading: Mapping[str, Any]
    """The fields of `dnas.data.reading.Reading`."""
    fingerprint: str
    side: int
    """For the space's largest resolution, in pixels."""
    channels: int


class Place(NamedTuple):
    """A training: its folder, what it is told, and how much it is beside others."""

    folder: Path
    job: Job
    work: float


@dataclass(frozen=True, eq=False)
class Trainings:
    """Trains pairs (`dnas.joint.stages.Evaluate`)."""

    pairs: Pairs
    recipes: RecipeSpace
    values: Mapping[str, Any]
    """Fields of every recipe that the command line states."""
    images: Images
    seed: int
    out: Path
    workers: Pool
    console: Any
    most: int
    """How many there may be, for people."""
    precision: Precision | None = None
    anew: bool = False
    """Whether the command replaces what was there."""
    seen: set[Path] = field(default_factory=set)
    """Folders of those asked for so far."""

    def __call__(self, rows: Sequence[Row], until: int | None) -> list[Curve]:
        """The curves of pairs trained for so many epochs, in their order; what is there is read."""
        places = [self.place(row, until) for row in rows]
        behind = len(self.seen)
        self.seen.update(p.folder for p in places)
        numbers = {p.folder: behind + n for n, p in enumerate(places, 1)}
        left = list({p.folder: p for p in places if not ended(p.folder)}.values())
        tasks = [
            p.job.task(p.folder, f"training {numbers[p.folder]} of {self.most}", function=FUNCTION, work=p.work)
            for p in left
        ]

        def say(n: int, _value: None) -> None:
            best = units.share(self.curve(left[n])[-1])
            self.console.print(f"[{numbers[left[n].folder]} of {self.most}] validation {best}", markup=False)

        fan_out(self.workers, tasks, self.console, "training", say, self.anew)
        return [self.curve(place) for place in places]

    def recipe(self, row: Row) -> Recipe:
        """The pair's recipe."""
        return with_values(self.recipes.at(self.pairs.recipe(row)), self.values)

    def diverged(self, row: Row) -> bool:
        """Whether the pair's whole training diverged."""
        return (self.place(row, None).folder / DIVERGED).is_file()

    def place(self, row: Row, until: int | None) -> Place:
        """Where a pair is trained."""
        space, recipe, images = self.pairs.space, self.recipe(row), self.images
        network = architecture(space, self.pairs.architecture(row))
        side = max(1, round(network.network.resolution.value * images.side / space.resolution.max()))
        fields = recipe.to_json()
        told = {key: value for key, value in fields.items() if key != "name"}
        common = [told, images.fingerprint, *([] if until is None else [until])]
        common += [] if self.precision is None else [self.precision]
        folder = self.out / folder_of(network.network, side, common, self.seed)
        data = {key: value for key, value in network.data.items() if key != "search"}
        job = Job(
            data, fields, images.place, self.seed, images.reading, side, images.channels, self.seed, until,
            self.precision,
        )  # fmt: skip
        epochs = recipe.epochs if until is None else min(until, recipe.epochs)
        return Place(folder, job, epochs * (side / images.side) ** 2 * self.pairs.macs(row))

    def curve(self, place: Place) -> Curve:
        """The best validation accuracy so far after each epoch; zeros of a training that diverged, so that it is behind
        every one that ended."""
        if (place.folder / DIVERGED).is_file():
            epochs = math.ceil(place.job.recipe["epochs"])
            return (0.0,) * min(epochs, place.job.until or epochs)
        best, found = 0.0, []
        for epoch in read_epochs(place.folder / HISTORY):
            best = max(best, epoch.validation_accuracy or 0.0)
            found.append(best)
        return tuple(found)


def ended(folder: Path) -> bool:
    """Whether a training has a result, be it that it diverged."""
    return (folder / DIVERGED).is_file() or has_ended(folder)
