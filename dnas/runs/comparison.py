"""comparison.json as a record: what `dnas.compare.run` writes, and what tables, pictures and reports read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dnas.errors import InputError
from dnas.files import read_document
from dnas.files.sets import current
from dnas.runs.converted import converted
from dnas.runs.records import Cost, Count, Positive, Share

COMPARISON = "comparison.json"
Origin = Literal["found", "drawn", "scaled", "against"]


class Accuracy(msgspec.Struct, frozen=True):
    """A mean over seeds (or networks and seeds) on the test images, with its standard error."""

    mean: Share
    standard_error: Annotated[float, msgspec.Meta(ge=0, le=1)]
    over: str
    by_seed: tuple[Share, ...] = ()

    @property
    def shown(self) -> str:
        return f"{100 * self.mean:.1f} +- {100 * self.standard_error:.1f} %"


class Entry(msgspec.Struct, frozen=True):
    """A network that was trained."""

    name: str
    origin: Origin
    macs: Count
    params: Count
    counted_at: Positive
    """Side of the input, in pixels, at which its costs count."""
    costs: tuple[Cost | None, ...]
    """One for each budget; None where a latency table lacks its blocks."""
    image_size: Positive
    macs_as_trained: Count
    accuracy: Accuracy
    trainings: tuple[str, ...]


class Said(msgspec.Struct, frozen=True):
    """How the network found stands to another, or to those drawn together."""

    against: str
    verdict: Literal["ahead of", "behind", "not to be told apart from"]
    gap: float
    standard_error: float


class RecipeUsed(msgspec.Struct, frozen=True):
    """What a comparison says of its recipe."""

    name: str = ""
    epochs: float = 0.0


class Compared(msgspec.Struct, frozen=True):
    """A comparison."""

    space: str
    found: str
    budgets: tuple[str, ...]
    recipe: RecipeUsed
    data: dict[str, Any]
    seeds: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)]
    test_images: Count
    chance: Share
    networks: Annotated[tuple[Entry, ...], msgspec.Meta(min_length=1)]
    drawn: Accuracy | None
    """Those drawn at its cost together."""
    verdicts: tuple[Said, ...]
    sentence: str
    standard_errors: str
    """What they are over."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_compared(folder: Path) -> Compared:
    """The comparison of a folder; raises `InputError` naming the place of what is damaged."""
    file = folder / COMPARISON
    found = converted(read_document(file).data, Compared, str(file))
    for n, entry in enumerate(found.networks):
        if len(entry.costs) != len(found.budgets):
            accepted = f"{len(found.budgets)}, one a budget"
            raise InputError(f"{file}: networks.{n}.costs", f"{len(entry.costs)} numbers", accepted=accepted)
    return found


def is_comparison(folder: Path) -> bool:
    """Whether the folder holds a comparison that has ended."""
    try:
        return current(folder / COMPARISON).is_file()
    except (OSError, ValueError):
        return False
