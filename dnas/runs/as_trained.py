"""What was counted and what was delivered, told apart: costs at the input asked for, and at that of the weights.

Budgets count a network at its space's own input. Its weights, and the accuracy that is told of them, belong to the
images of the search or training: another side, grey instead of colour, other classes. Jax-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dnas.cost import ledger
from dnas.grammar.read import at_input
from dnas.graph import graph_of
from dnas.space import units
from dnas.space.space import Space


class Counted(NamedTuple):
    """The exact costs of an architecture at one input."""

    side: int
    channels: int
    classes: int
    macs: int
    params: int

    @property
    def images(self) -> str:
        """`64 px x 3 channels`"""
        return f"{self.side} px x {self.channels} channel{'' if self.channels == 1 else 's'}"

    @property
    def input(self) -> str:
        """`64 px x 3 channels, 10 classes`"""
        return f"{self.images}, {self.classes} classes"

    @property
    def costs(self) -> str:
        """Multiply-adds and parameters for people."""
        return f"{units.counted(self.macs, 'FLOPs')}, {units.counted(self.params, 'params')}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in an architecture's file."""
        return {
            "input": {"resolution": self.side, "channels": self.channels, "classes": self.classes},
            "costs": {"macs": self.macs, "params": self.params},
        }


def counted_at(space: Space) -> Counted:
    """An architecture at the input that it states."""
    records = graph_of(space).ledger
    macs, params = (int(ledger.at(ledger.COSTS[name](records), {})) for name in ("MACs", "params"))
    return Counted(space.resolution.value, space.channels, space.classes, macs, params)


def recorded(space: Space) -> Counted | None:
    """An architecture's file at the input that its weights fit, where it records one."""
    extra = space.extra or {}
    search = extra.get("search")
    block = extra.get("as_trained")
    found = block.get("input") if isinstance(block, Mapping) else None
    found = found or (search.get("proxy") if isinstance(search, Mapping) else None)
    if not isinstance(found, Mapping):
        return None
    sizes = [found.get(name) for name in ("resolution", "channels", "classes")]
    side, channels, classes = (v if type(v) is int and 1 <= v <= 1_000_000 else None for v in sizes)
    if side is None or channels is None or classes is None:
        return None
    return counted_at(at_input(space, channels=channels, classes=classes, side=side))


def told_apart(counted: Counted, delivered: Counted | None) -> list[str]:
    """Two lines where the weights are of another input than the costs; nothing where they are of the same."""
    if delivered is None or delivered[:3] == counted[:3]:
        return []
    return [
        f"delivered (weights and accuracy): {delivered.costs} at {delivered.input}",
        f"counted for budgets: {counted.costs} at the space's own {counted.input}",
    ]
