"""A piece of work that a process can do by itself, and what a pool of processes offers to have it done."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

Report = Callable[[int, int, str], None]
"""How many steps are done, of how many, and what to say of them."""


@dataclass(frozen=True)
class Task:
    """A call of a function by its name.

    The function is given `report` (a `Report`, which it may call as often as it likes) and the arguments by their
    names; its value is JSON. A task whose process is lost is begun again, so it must go on, or begin anew, where
    something of it is left.
    """

    function: str
    """`module:function`."""
    arguments: Mapping[str, Any]
    """JSON values."""
    name: str
    """For people."""
    work: float = 1.0
    """How much it is beside other tasks, in any unit; for the time left alone."""
    again: Mapping[str, Any] | None = None
    """The arguments after its process was lost, if not the same."""

    def to_json(self) -> dict[str, Any]:
        """As a process reads it."""
        return asdict(self)

    def perform(self, report: Report) -> Any:
        """Calls the function; raises what it raises."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(report=report, **self.arguments)


class Standing(NamedTuple):
    """How far a task is."""

    step: int = 0
    steps: int = 0
    line: str = ""

    @property
    def share(self) -> float:
        """Of its steps that are done, from 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


class End(NamedTuple):
    """How a task ended: with a value, or for one of three reasons without."""

    value: Any = None
    failed: str = ""
    """A user's mistake, or a limit of the machine, in one line."""
    fault: str = ""
    """A fault of ours: all that was said."""
    lost: str = ""
    """Why its process has gone, in a few words: the task is worth another try."""


class Running(Protocol):
    """A task at work."""

    def poll(self) -> End | None:
        """Its end; None while it is at work."""
        ...

    def standing(self) -> Standing:
        """How far it is, as far as it is known."""
        ...

    def stop(self) -> None:
        """Asks it to save and leave."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Pool(Protocol):
    """What begins tasks."""

    @property
    def count(self) -> int:
        """How many run at a time."""
        ...

    def begin(self, task: Task, place: int) -> Running:
        """Begins a task at a place, from 0 to `count` - 1, which no other task at work has."""
        ...
