"""What a method of compression is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dnas.cost.budget import Budget
from dnas.errors import Stopped
from dnas.nn.supernet import Variables
from dnas.process.progress import Update
from dnas.train.setup import Setup


@dataclass(frozen=True)
class Asked:
    """Options of `python -m dnas.compress`, by their names; None where they are not given."""

    method: str
    budgets: tuple[Budget, ...] = ()
    rate: float | None = None
    """Share of the prunable entries that goes."""
    penalty: float = 1e-4
    """Weight of the sum of the gates' magnitudes while they are learned."""
    error: float | None = None
    """Largest error of a block's features where patches are dropped."""
    bits: float | None = None
    """Of each number; with `mixed`, on average."""
    mixed: bool = False
    scales: str = "similarity"
    """How the steps of quantisers are found."""
    images: int | None = None
    """Training images to calibrate with."""


class Watching(NamedTuple):
    """Who is told of a method on its way."""

    console: Any
    """A rich one, for lines and for `dnas.process.progress`."""
    asked_to_stop: Callable[[], int] = lambda: 0
    """The number of the signal that asks to stop, 0 for none."""
    update: Update = lambda step, line: None
    checkpoint_seconds: float | None = None
    resume: bool = False

    def leave_if_asked(self, where: str, then: str = "continue with --resume") -> None:
        """Raises `Stopped` after a signal; `where` says what is kept, `then` what the user can do."""
        if number := self.asked_to_stop():
            raise Stopped(f"stopped: {where}; {then}", number)


class Compressed(NamedTuple):
    """A smaller network."""

    data: dict[str, Any]
    """Its file, as `dnas.grammar.read.space_from_data` takes it."""
    variables: Variables
    record: dict[str, Any]
    """What the method did, as plain JSON; the same for the same command."""
    files: Mapping[str, bytes] = MappingProxyType({})
    """What else belongs beside the result, by name."""


Method = Callable[[Setup, Asked, Path, Watching], Compressed]
"""The folder is for what the method keeps on its way, so that it can go on where it was stopped."""
