"""The trainings of a joint search: each a folder of its own, as `dnas.train` makes it, kept, and never run twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dnas.files import write_json
from dnas.graph.architecture import architecture
from dnas.joint.early import Curve
from dnas.joint.job import DIVERGED, JOB, Job
from dnas.joint.pairs import Pairs, Row
from dnas.joint.processes import Workers
from dnas.process.progress import working
from dnas.runs.history import HISTORY, read_epochs
from dnas.space import units
from dnas.train.folders import folder_of, has_ended
from dnas.train.recipe import Recipe, RecipeSpace, with_values


@dataclass(frozen=True, eq=False)
class Images:
    """The data of all trainings."""

    given: str | None
    """As on the command line."""
    skip_bad: bool
    fingerprint: str
    side: int
    """For the space's largest resolution, in pixels."""
    channels: int
    chance: float
    """The accuracy of always answering the most frequent class."""


class Place(NamedTuple):
    """A training: its folder, and what it is told."""

    folder: Path
    job: Job


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
    workers: Workers
    console: Any
    most: int
    """How many there may be, for people."""
    seen: set[Path] = field(default_factory=set)
    """Folders of those asked for so far."""

    def __call__(self, rows: Sequence[Row], until: int | None) -> list[Curve]:
        """The curves of pairs trained for so many epochs, in their order; what is there is read."""
        places = [self.place(row, until) for row in rows]
        behind = len(self.seen)
        self.seen.update(p.folder for p in places)
        numbers = {p.folder: behind + n for n, p in enumerate(places, 1)}
        left = list({p.folder: p for p in places if not ended(p.folder)}.values())
        for place in left:
            write_json(place.folder / JOB, place.job.to_json())

        def say(folder: Path) -> None:
            best = units.share(self.curve(next(p for p in places if p.folder == folder))[-1])
            self.console.print(f"[{numbers[folder]} of {self.most}] validation {best}", markup=False)

        with working(self.console, f"training {len(left)} of {len(places)}" if left else "reading trainings"):
            self.workers.run([p.folder for p in left], say)
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
        folder = self.out / folder_of(network.network, side, common, self.seed)
        data = {key: value for key, value in network.data.items() if key != "search"}
        job = Job(data, fields, images.given, images.skip_bad, side, images.channels, self.seed, until)
        return Place(folder, job)

    def curve(self, place: Place) -> Curve:
        """The best validation accuracy so far after each epoch; of a training that diverged, that of guessing."""
        if (place.folder / DIVERGED).is_file():
            epochs = math.ceil(place.job.recipe["epochs"])
            return (self.images.chance,) * min(epochs, place.job.until or epochs)
        best, found = 0.0, []
        for epoch in read_epochs(place.folder / HISTORY):
            best = max(best, epoch.validation_accuracy or 0.0)
            found.append(best)
        return tuple(found)


def ended(folder: Path) -> bool:
    """Whether a training has a result, be it that it diverged."""
    return (folder / DIVERGED).is_file() or has_ended(folder)
