"""joint.json as a record: what `dnas.joint` writes, and what reports read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dnas.errors import InputError
from dnas.files import read_document
from dnas.files.sets import current
from dnas.runs.converted import converted
from dnas.runs.records import Option

RECORD = "joint.json"


class TrainedPair(msgspec.Struct, frozen=True):
    """A training of the coarse stage."""

    options: tuple[int, ...]
    """Index of the option of each choice."""
    curve: tuple[float, ...]
    """Best validation accuracy so far after each epoch."""
    expected: float | None
    """By the predictor before it was trained."""
    folder: str


class Ended(msgspec.Struct, frozen=True):
    """A pair that was trained whole at the end."""

    options: tuple[int, ...]
    curve: tuple[float, ...]
    predicted: float
    spread: float
    test: float | None
    """Accuracy on test images; None of a training that diverged."""
    folder: str


class Cost(msgspec.Struct, frozen=True):
    """A budget and what the architecture found costs."""

    budget: str
    limit: float
    cost: float


class Member(msgspec.Struct, frozen=True):
    """The result within some budgets: the first of `winners`."""

    budgets: tuple[Cost, ...]
    winners: tuple[Ended, ...]
    taken: dict[str, Option]
    """Choice -> option."""

    @property
    def name(self) -> str:
        """Its budgets, as they were given."""
        return "_".join(cost.budget for cost in self.budgets) or "no_budget"


class Field(msgspec.Struct, frozen=True):
    """How much a choice matters (`dnas.joint.importance`)."""

    name: str
    share: float
    error: float


class Record(msgspec.Struct, frozen=True):
    """The whole file."""

    space: str
    seed: int
    data: dict[str, Any]
    image_size: int
    plan: dict[str, Any]
    choices: dict[str, tuple[Option, ...]]
    coarse_budgets: tuple[str, ...]
    epoch: int | None
    correlations: tuple[float, ...]
    trained: tuple[TrainedPair, ...]
    rank_correlation: float | None
    """Of what was expected of candidates with what was measured; None where fewer than three were expected."""
    fields: tuple[Field, ...]
    members: tuple[Member, ...]

    @property
    def expectation(self) -> str:
        """What the predictor's accuracies are called: they are of where trainings stop early, if they do."""
        return "predicted" if self.epoch is None else f"predicted after epoch {self.epoch}"

    def end(self, curve: tuple[float, ...]) -> int:
        """Where the curve of a candidate counts: where all of them end that were stopped early."""
        return len(curve) - 1 if self.epoch is None else min(self.epoch, len(curve)) - 1


def read_record(folder: Path) -> Record | None:
    """The record of a folder, None where there is none; raises `InputError` where it is damaged."""
    file = folder / RECORD
    if not current(file).is_file():
        return None
    return _checked(converted(read_document(file).data, Record, str(file)), str(file))


def _checked(record: Record, file: str) -> Record:
    """The record, whose pairs are of its choices; raises `InputError` naming the place of one that is not."""
    sizes = [len(options) for options in record.choices.values()]
    several = [(f"trained.{n}", pair) for n, pair in enumerate(record.trained)]
    for n, member in enumerate(record.members):
        if not member.winners:
            raise InputError(f"{file}: members.{n}.winners", "empty", accepted="at least one")
        several += [(f"members.{n}.winners.{k}", pair) for k, pair in enumerate(member.winners)]
    for place, pair in several:
        if len(pair.options) != len(sizes) or not all(0 <= o < s for o, s in zip(pair.options, sizes, strict=True)):
            accepted = f"an index for each of {len(sizes)} choices, below the number of its options"
            raise InputError(f"{file}: {place}.options", "not of the choices", found=pair.options, accepted=accepted)
        if not pair.curve:
            raise InputError(f"{file}: {place}.curve", "empty", accepted="an accuracy for each epoch")
    if not record.members or not record.trained:
        raise InputError(file, "no training, or no result, in it", accepted="a file that a joint search wrote")
    return record
