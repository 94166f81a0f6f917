"""What a search algorithm is to the driver: a state and the phases that change it.

A strategy is one file with a function `(problem, programs) -> Strategy`. The driver (`dnas.learning.driver`) takes the
steps of its phases in turn, shows and records their metrics, and saves the state, so a strategy knows nothing of
clocks, files, signals or progress, and what it computes depends on its state and the step's number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dnas.learning.course import Phase, State
from dnas.nn.packing import Leaves
from dnas.solve.derive import Derivation

if TYPE_CHECKING:
    from dnas.search.problem import Problem


@dataclass(frozen=True)
class Outcome:
    """What a search ends with, before it is written."""

    assignment: dict[str, int]
    """Option taken for each choice."""
    costs: tuple[float, ...]
    """Of that network, a budget each."""
    variables: dict[str, Leaves]
    """The supernet's, packed, batch norms estimated for the network found."""
    accuracies: dict[str, float]
    """Of the named networks on test images; `NAME_before` with the norms' former statistics."""
    images: int
    """Test images behind each accuracy."""
    derivation: Derivation | None = None
    """The most probable network within the budgets, where a strategy learns probabilities; the network found may be
    another, if a race decided."""
    expected: tuple[float, ...] = ()
    """Mean cost of sampled networks before the derivation, a budget each."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Further numbers for the result's file."""
    chain: list[dict[str, Any]] = field(default_factory=list)
    """Networks met on the way, each with its cost, of a strategy that goes from network to network. `assignment` of
    each is written as a file of its own."""
    family: list[dict[str, Any]] = field(default_factory=list)
    """The network for each budget of the family: `budget`, `assignment`, `accuracy`."""
    spaces: list[dict[str, Any]] = field(default_factory=list)
    """The spaces met on the way, of a strategy that changes its space, the last one being that of the network."""
    warnings: list[str] = field(default_factory=list)
    unused: str = ""
    """Why no more of a budget is used, where the strategy knows."""
    members: tuple[Member, ...] = ()
    """The networks of a family that was searched in one run, the loosest budget first; the last one is this network."""


class Member(NamedTuple):
    """A network of a family that has weights, and the problem that it solves."""

    problem: Problem
    outcome: Outcome


class Around(NamedTuple):
    """Steps of the same search in other spaces, before this one and after it."""

    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Strategy:
    """A search algorithm on one problem."""

    name: str
    start: Callable[[], State]
    phases: tuple[Phase, ...]
    outcome: Callable[[State], Outcome]
    observe: Callable[[State], dict[str, Any]] = lambda state: {}
    """More for a row of the history, such as the probabilities of the choices."""
    following: Callable[[State], Problem | None] = lambda state: None
    """The problem in which the search begins anew after these phases, of a strategy that changes its space; None where
    it has ended."""
    around: Around = Around()
    batch_size: int | None = None
    """Images in a step, where there are not as many as the settings say."""
    notes: tuple[str, ...] = ()
    """What is said before the first step of how the search is done."""

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)
