"""joint.json as a record: what `dnas.joint` writes, and what reports read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dnas.files import read_document
from dnas.files.sets import current
from dnas.runs.converted import converted

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
    taken: dict[str, Any]
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
    choices: dict[str, tuple[Any, ...]]
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
    return converted(read_document(file).data, Record, str(file))
