"""The trainings of a comparison: each a folder of its own, made as `dnas.train` makes it, kept, and never run twice."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from dnas.compare.clock import Clock
from dnas.compare.contenders import Contender, Lineup
from dnas.compare.subject import Subject
from dnas.data.dataset import Dataset
from dnas.data.load import Source
from dnas.errors import Stopped
from dnas.grammar.read import at_input
from dnas.nn.wing import wing
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import told, working
from dnas.process.provenance import versions
from dnas.runs.as_trained import counted_at
from dnas.runs.folder import PARTS, Claiming
from dnas.runs.result import Result
from dnas.space import units
from dnas.train.folders import content, digest, folder_of, has_ended, recorded
from dnas.train.memory import must_fit
from dnas.train.recipe import Recipe
from dnas.train.run import run_training
from dnas.train.setup import Setup, make_setup


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
    given: Premises, out: Path, console: Any, say: Callable[[str], None], overwrite: bool
) -> dict[str, Mapping[str, Any]]:
    """Runs what has not ended; folder -> what the training says of itself (`training` of its architecture's file).

    Raises:
        Stopped: asked to leave by a signal; everything is kept.
        UserError: see `dnas.train.run.run_training`.
    """
    several = list({t.folder: t for t in trainings(given, console)}.values())
    left = [t for t in several if overwrite or not has_ended(out / t.folder)]
    behind = len(several) - len(left)
    say(f"{len(several)} trainings" + (f", {behind} of them already there" if behind else ""))
    with asked_to_stop() as asked:
        _run(given, left, out, console, (behind, len(several)), overwrite, asked)
    return {t.folder: recorded(out / t.folder) for t in several}


def _run(
    given: Premises, left: list[Training], out: Path, console: Any, numbers: tuple[int, int], overwrite: bool,
    asked: Callable[[], int],
) -> None:  # fmt: skip
    behind, count = numbers
    clock = Clock([macs_as_trained(given, t.contender, console) for t in left])
    with working(console, "training", clock.standing):
        for n, training in enumerate(left):
            place = f"{behind + n + 1} of {count}"
            clock.begin(f"{training.name} ({place})")
            try:
                _train(given, training, out, console, overwrite, clock, asked)
            except Stopped as stop:
                message = f"stopped in training {place} ({training.name}); the same command goes on"
                raise Stopped(message, stop.exit_code - 128) from stop
            clock.end()
            console.print(f"[{place}] {_said(training, recorded(out / training.folder))}", markup=False)
            jax.clear_caches()  # a training's programs and arrays go before those of the next come
            gc.collect()


def _train(
    given: Premises, training: Training, out: Path, console: Any, overwrite: bool, clock: Clock,
    asked: Callable[[], int],
) -> None:  # fmt: skip
    def stop() -> None:
        if asked():
            raise Stopped("", asked())

    stop()
    setup = _setup(given, training, console)
    must_fit(setup)
    stop()
    run_training(
        setup, out / training.folder, Console(quiet=True), Claiming(resume=not overwrite, overwrite=overwrite),
        watch=lambda step, line: clock.note(step, setup.taken, line),
    )  # fmt: skip


def _said(training: Training, told: Mapping[str, Any]) -> str:
    """The result of one training."""
    accuracy = units.accuracy(told["accuracy"]["test"], told["images"]["test"])
    return f"{training.name}: test {accuracy} at {training.contender.side} px"


def _setup(given: Premises, training: Training, console: Any) -> Setup:
    contender, dataset = training.contender, given.dataset(training.contender.side, console)
    record = {"seed": given.subject.data_seed(given.seed)}
    network = contender.network
    source = Result(network, network, None, None, (), record)
    return make_setup(source, dataset, given.recipe, start="scratch", side=contender.side, seed=training.seed)


def macs_as_trained(given: Premises, contender: Contender, console: Any) -> int:
    """Multiply-adds of the network on the images that it was trained on."""
    dataset = given.dataset(contender.side, console)
    network = at_input(contender.network, channels=dataset.channels, classes=dataset.classes, side=contender.side)
    return counted_at(network).macs


def unused(several: Sequence[Training], out: Path) -> list[Path]:
    """Folders of trainings that belong to no network or seed of this comparison."""
    mine = {out / t.folder for t in several}
    return [folder for folder in sorted((out / PARTS).glob("*")) if folder not in mine]
