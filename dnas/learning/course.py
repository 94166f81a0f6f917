"""What a driver takes a run through: phases of steps on a state, and what each step measures.

A step depends on its state and the step's number alone, so a run that goes on from a checkpoint repeats the whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

Metrics = dict[str, Any]
"""Arrays on the device; read only where a row of the history is written."""


class State(NamedTuple):
    """Everything a run must remember."""

    arrays: Any
    """A pytree of arrays whose shapes never change."""
    notes: dict[str, Any]
    """JSON values: what was decided on the way. A step that changes them makes new ones."""


@dataclass(frozen=True)
class Phase:
    """A stretch of steps of one kind.

    `begin` runs once before the first step. `step(state, n)` takes step `n` of this phase, from 0. A phase whose
    number of steps is not known before ends early where `done` says so. `begin` and `review` leave the state that they
    are given as it is: a run that is interrupted in them repeats them.
    """

    name: str
    steps: int
    step: Callable[[State, int], tuple[State, Metrics]]
    begin: Callable[[State], State] = lambda state: state
    done: Callable[[State], bool] = lambda state: False
    rows_every: int | None = None
    """Steps from one row of the history to the next; None: about a hundred rows a run. The last step has one too."""
    review: Callable[[State, int], tuple[State, Metrics]] = lambda state, step: (state, {})
    """What a row waits for, such as an evaluation: the state after it, and more for the row."""
    end: Callable[[], None] = lambda: None
    """Is called when its last step is taken, and where the run leaves it before: what reads ahead ends."""


@runtime_checkable
class Course(Protocol):
    """A run as the driver sees it."""

    @property
    def start(self) -> Callable[[], State]:
        """Makes the first state."""
        ...

    @property
    def phases(self) -> tuple[Phase, ...]:
        """In the order in which they are run."""
        ...

    @property
    def observe(self) -> Callable[[State], dict[str, Any]]:
        """More for a row of the history."""
        ...

    @property
    def steps(self) -> int:
        """Of all phases."""
        ...
