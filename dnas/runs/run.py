"""A run as data: what a search or a training of one result folder came to, or whose weights were imported there.

A run that has not ended has no network yet; its rows are those written so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dnas.runs.as_trained import Counted
from dnas.runs.lineage import Stage, Step
from dnas.runs.records import Chain, ChainStep, Epoch, ImportedFacts, Row, SearchFacts, SpaceEvolution, TrainingFacts


@dataclass(frozen=True)
class Layer:
    """One block of the network; `fields` has every field, defaults filled in. `side` is that of a map, else None."""

    path: str
    kind: str
    fields: dict[str, Any]
    channels_in: int
    channels: int
    side: int | None
    macs: int
    params: int
    source: str = ""
    """Path of the block in the search space; empty where that is not known."""
    shapes: tuple[str, ...] = ()
    """What it gives, a text for each tensor: `14x14`, `50 tokens`, `49 patches, 4 tokens`, `vector`."""


@dataclass(frozen=True)
class NetworkFacts:
    """The network of a run: `counted` as its budgets count it, `delivered` with the weights that lie beside it."""

    name: str
    layers: tuple[Layer, ...]
    counted: Counted
    delivered: Counted | None
    """None where an older file does not say at which input the weights were measured."""
    classes: int
    """Of the data."""
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    """Name of a latency table that a budget names -> path of a block -> its milliseconds there."""

    @property
    def by_proxy(self) -> bool:
        """Whether weights and accuracies are of another input than the one that costs are counted at."""
        return self.delivered is not None and self.delivered != self.counted


@dataclass(frozen=True)
class Member:
    """A network of a family: `share` of its budget, None where its cost is not known."""

    budget: str
    cost: float | None
    share: float | None
    accuracy: float
    split: str
    file: str = ""
    """In the run's folder."""


@dataclass(frozen=True)
class Run:
    """One result folder, at `position` among those of the report."""

    name: str
    position: int
    folder: str
    network: NetworkFacts | None
    unfinished: str
    """What is known of a run that has not ended; empty where it has."""
    warnings: tuple[str, ...]
    provenance: dict[str, Any] | None
    lineage: tuple[Step, ...]
    """The steps that led to its network, the last its own."""
    stages: tuple[Stage, ...]
    """Of a run that made a network smaller: before, after, trained on."""


@dataclass(frozen=True)
class Search(Run):
    """A search, whichever its strategy."""

    facts: SearchFacts
    taken: dict[str, Any]
    """Choice name -> the option taken."""
    unused: frozenset[str]
    """Choices that the network found does not depend on."""
    options: dict[str, tuple[Any, ...]]
    """Choice name -> its options, as far as they are known."""
    rows: tuple[Row, ...]
    chain: Chain | None
    family: tuple[Member, ...]
    evolution: SpaceEvolution | None = None
    """Of the space, where the search changed it."""

    @property
    def steps(self) -> tuple[ChainStep, ...]:
        return () if self.chain is None else self.chain.steps

    @property
    def last_probabilities(self) -> dict[str, tuple[float, ...]]:
        """Of the options of every choice at the end, in the order of the space; empty where none were written."""
        told = next((row.probabilities for row in reversed(self.rows) if row.probabilities), {})
        return {choice: told[choice] for choice in (*self.options, *told) if choice in told}


@dataclass(frozen=True)
class Training(Run):
    """A training; without `facts` while it has not ended."""

    facts: TrainingFacts | None
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True)
class Imported(Run):
    """Weights that come from elsewhere; what is known of their training is not."""

    facts: ImportedFacts
