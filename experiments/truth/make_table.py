"""Trains every member of a part's space and keeps what each reached.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb fashion
    python experiments/truth/make_table.py blocks --test fashion/usr/share/datasets/fashion-mnist
    python experiments/truth/make_table.py widths --test fashion/usr/share/datasets/fashion-mnist

Each member is trained from scratch, by `recipe.yaml`, from as many seeds as the part asks for. The table is written
after every member: a run that was interrupted goes on where it stood, and no network is trained twice. Members come in
a shuffled order, so that the first ten already show how far members differ, and how far trainings of one.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import part as parts
import tyro

from dnas.cli.entry import run

ORDER = 18
"""Shuffles the members."""


@dataclass(frozen=True)
class Arguments:
    """Trains every member of a part's space."""

    part: Annotated[Literal["blocks", "widths"], tyro.conf.Positional]
    """What is trained: blocks (choices of every kind) or widths (nothing else)."""
    test: Path
    """Folder of Fashion-MNIST's four IDX files; of its test images those are taken that do not come with dnas."""
    limit: int | None = None
    """Stop after so many members; the same command goes on."""


def main(args: Arguments) -> None:
    from dnas.process.backend import configure

    configure()
    import training

    from dnas.data.load import load
    from dnas.errors import InputError
    from dnas.files import write_atomic, write_json
    from dnas.train.recipe import read_recipe

    part = parts.PARTS[args.part]
    data, recipe = load(), read_recipe(parts.HERE / "recipe.yaml").fixed()
    test, of = training.held_out(args.test, data), parts.members(part.space())
    made = made_of(part, recipe.to_json(), len(data.train_labels), len(test.labels))
    beside = part.table_file.with_suffix(".json")
    found = parts.read(of, part.table_file)
    if found and recorded(beside)["made_of"] != made:
        raise InputError(str(beside), "the table was made otherwise", accepted="the same files, or the table removed")
    left = [m for m in shuffled(of) if len(found.get(m, [])) < part.seeds][: args.limit]
    clock = Clock(len(left))
    for number, member in enumerate(left, 1):
        trainer, known = training.Trainer(of.space, member, recipe, data), found.get(member, [])
        found[member] = [*known, *(trainer.accuracy(seed, test) for seed in range(len(known), part.seeds))]
        write_atomic(part.table_file, parts.written(of, found))
        write_json(beside, {"made_of": made, **record(args, beside, clock.lap())})
        print(f"{len(found)} of {len(of.names)}: {clock.told(number)}; {told(list(found.values()))}", flush=True)


def made_of(part: parts.Part, recipe: dict[str, Any], train: int, test: int) -> dict[str, Any]:
    """What the accuracies depend on, versions apart."""
    return {
        "space": part.space_file.name, "space_sha256": digest(part.space_file),
        "train": f"fashion-mnist-5k, {train} images", "test": f"Fashion-MNIST's test split, {test} images of it",
        "recipe": recipe,
    }  # fmt: skip


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def recorded(file: Path) -> dict[str, Any]:
    from dnas.files import read_document

    return read_document(file).data if file.is_file() else {}


def record(args: Arguments, file: Path, seconds: float) -> dict[str, Any]:
    """How the table was made so far: the command, versions, and the processor time of all runs together."""
    from dnas.process.provenance import provenance

    now = provenance()
    return {
        "command": f"python experiments/truth/make_table.py {args.part} --test {args.test.name}",
        **{name: now[name] for name in ("date", "python", "device_kind", "versions")},
        "cpu_seconds": round(recorded(file).get("cpu_seconds", 0.0) + seconds, 1),
    }


def shuffled(of: parts.Members) -> list[parts.Member]:
    names = of.names
    return [names[n] for n in np.random.default_rng(ORDER).permutation(len(names))]


def told(accuracies: list[list[float]]) -> str:
    """How far members differ, and how far trainings of one member."""
    several = [values for values in accuracies if len(values) > 1]
    if len(several) < 2:
        return "too few for a spread"
    between = float(np.std([np.mean(values) for values in several], ddof=1))
    within = math.sqrt(np.mean([np.var(values, ddof=1) for values in several]))
    return f"members spread by {100 * between:.2f} points, trainings of one by {100 * within:.2f}"


class Clock:
    """Processor time spent, and what is left at the pace so far."""

    def __init__(self, count: int):
        self.count, self.began, self.last = count, time.monotonic(), time.process_time()

    def lap(self) -> float:
        """Seconds of processor time since the last call."""
        now, before = time.process_time(), self.last
        self.last = now
        return now - before

    def told(self, done: int) -> str:
        passed = time.monotonic() - self.began
        return f"{passed / 60:.1f} min, about {passed / done * (self.count - done) / 60:.0f} min left"


if __name__ == "__main__":
    run(main, Arguments)
