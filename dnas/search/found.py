"""The network that a search found, before it is written."""

from __future__ import annotations

from dataclasses import dataclass

from dnas.graph.architecture import Architecture
from dnas.nn.supernet import Variables
from dnas.search.problem import Problem
from dnas.search.strategy import Outcome


@dataclass(frozen=True)
class Found:
    """What a search ends with."""

    problem: Problem
    strategy: str
    outcome: Outcome
    architecture: Architecture
    """At the space's own input, as the budgets count it."""
    by_proxy: Architecture
    """The same network on the data's images, which the weights fit."""
    variables: Variables
    members: tuple[Found, ...] = ()
    """Of a family that was searched in one run, the loosest budget first; the last one is this network."""
