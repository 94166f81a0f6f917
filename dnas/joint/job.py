"""What a training of a joint search is told: a file in its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

JOB, DIVERGED = "job.json", "diverged.json"


@dataclass(frozen=True)
class Job:
    """One training."""

    architecture: dict[str, Any]
    """Its file."""
    recipe: dict[str, Any]
    """The fields of `dnas.train.recipe.Recipe`."""
    data: str | None
    """As on the command line."""
    skip_bad: bool
    side: int
    """Of the images, in pixels."""
    channels: int
    seed: int
    until: int | None
    """Epochs after which it stops; None for its end."""

    def to_json(self) -> dict[str, Any]:
        """As its file holds it."""
        return asdict(self)
