"""The trainings of a comparison: each a folder of its own, made as `dnas.train` makes it, kept, and never run twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dnas.compare.contenders import Contender, Lineup
from dnas.compare.subject import Subject
from dnas.data.dataset import Dataset
from dnas.data.load import Source
from dnas.data.reading import Reading
from dnas.fanout.run import fan_out
from dnas.fanout.task import Pool, Task
from dnas.grammar.read import at_input
from dnas.graph.architecture import architecture
from dnas.nn.wing import wing
from dnas.process.progress import told
from dnas.process.provenance import versions
from dnas.runs.as_trained import counted_at
from dnas.runs.folder import PARTS
from dnas.space import units
from dnas.train.folders import content, digest, folder_of, has_ended, recorded
from dnas.train.job import Job, place_of
from dnas.train.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Premises:
    """Everything that a comparison follows from."""

    subject: Subject
    lineup: Lineup
    source: Source
    side: int
    """Of the images for the space's largest resolution, in pixels."""
    recipe: Recipe
    seed: int
    """The first."""
    seeds: int
    reading: Reading
    """Of image files."""
    _decoded: dict[int | None, Dataset] = field(default_factory=dict, repr=False)

    def dataset(self, side: int, console: Any) -> Dataset:
        """The data at a side, in pixels; arrays are the same at any."""
        key = None if self.source.fixed else side
        if key not in self._decoded:
            with told(console, "decoding images") as update:
                found = self.source.load(side, self.subject.found.image_channels, "its share of the resolution", update)
            self._decoded[key] = found
        return self._decoded[key]

    def identity(self, console: Any) -> dict[str, Any]:
        """What must be the same for a folder's trainings to be those of this comparison.

        How many networks and seeds there are is left out: more of them go on with what is there.
        """
        document = json.dumps(self.subject.space.document.data, sort_keys=True)
        return {
            "architecture": digest(content(self.subject.found.space)),
            "space": digest(document),
            "data": self.dataset(self.side, console).fingerprint,
            "image_size": self.side,
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "kernels": bool(wing().forms),
            "versions": versions(),
        }


class Training(NamedTuple):
    """One of them: which network, by its place in the lineup, and which seed."""

    contender: Contender
    seed: int
    folder: str
    """In the comparison's own."""

    @property
    def name(self) -> str:
        return f"{self.contender.name}, seed {self.seed}"


def trainings(given: Premises, console: Any) -> list[Training]:
    """All of them, seed by seed, so that one stopped early has told something of every network.

    Networks that are the same share a folder.
    """
    data = given.dataset(given.side, console).fingerprint
    common = [given.recipe.to_json(), data, given.subject.data_seed(given.seed)]
    found = []
    for seed in range(given.seed, given.seed + given.seeds):
        for contender in given.lineup.contenders:
            found.append(Training(contender, seed, folder_of(contender.network, contender.side, common, seed)))
    return found


def train_all(
    given: Premises, pool: Pool, out: Path, console: Any, say: Callable[[str], None], overwrite: bool
) -> dict[str, Mapping[str, Any]]:  # fmt: skip
    """Runs what has not ended; folder -> what the training says of itself (`training` of its architecture's file).

    Raises:
        Stopped: asked to leave by a signal; everything is kept.
        UserError: see `dnas.train.run.run_training`.
    """
    several = list({t.folder: t for t in trainings(given, console)}.values())
    left = [t for t in several if overwrite or not has_ended(out / t.folder)]
    behind = len(several) - len(left)
    say(f"{len(several)} trainings" + (f", {behind} of them already there" if behind else ""))
    places = [f"{behind + n + 1} of {len(several)}" for n in range(len(left))]
    tasks = [_task(given, t, out, console, place, overwrite) for t, place in zip(left, places, strict=True)]

    def ended(n: int, _value: None) -> None:
        console.print(f"[{places[n]}] {_said(left[n], recorded(out / left[n].folder))}", markup=False)

    fan_out(pool, tasks, console, "training", ended, overwrite)
    return {t.folder: recorded(out / t.folder) for t in several}


def _task(given: Premises, training: Training, out: Path, console: Any, place: str, overwrite: bool) -> Task:
    """A training as a process does it."""
    contender = training.contender
    dataset = given.dataset(contender.side, console)
    job = Job(
        architecture(contender.network, {}).data, given.recipe.to_json(), place_of(dataset),
        given.subject.data_seed(given.seed), given.reading.of(dataset), contender.side,
        given.subject.found.image_channels, training.seed,
    )  # fmt: skip
    work = float(macs_as_trained(given, contender, console))
    return job.task(out / training.folder, f"{training.name} ({place})", overwrite=overwrite, work=work)


def _said(training: Training, told: Mapping[str, Any]) -> str:
    """The result of one training."""
    accuracy = units.accuracy(told["accuracy"]["test"], told["images"]["test"])
    return f"{training.name}: test {accuracy} at {training.contender.side} px"


def macs_as_trained(given: Premises, contender: Contender, console: Any) -> int:
    """Multiply-adds of the network on the images that it was trained on."""
    dataset = given.dataset(contender.side, console)
    network = at_input(contender.network, channels=dataset.channels, classes=dataset.classes, side=contender.side)
    return counted_at(network).macs


def unused(several: Sequence[Training], out: Path) -> list[Path]:
    """Folders of trainings that belong to no network or seed of this comparison."""
    mine = {out / t.folder for t in several}
    return [folder for folder in sorted((out / PARTS).glob("*")) if folder not in mine]
