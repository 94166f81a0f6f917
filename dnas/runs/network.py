"""What a report knows of a network: its blocks with their costs, and what it costs as counted and as delivered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dnas.cost.count import count
from dnas.graph import graph_of
from dnas.ops.tensor import CHANNELS, Tensor, leaves
from dnas.runs.as_trained import Counted
from dnas.runs.names import Names
from dnas.runs.records import BudgetResult
from dnas.runs.result import Result
from dnas.runs.run import Layer, NetworkFacts
from dnas.runs.times import times_of
from dnas.space.space import Space


def network_of(
    result: Result, names: Names, stated: bool, budgets: Sequence[BudgetResult] = (), shipped_only: bool = False
) -> NetworkFacts:
    """The network of a result.

    Args:
        stated: whether the file says at which input its weights were measured.
        shipped_only: no latency table is read but those that come with dnas.
    """
    space, sources = result.space, names.sources
    counted = count(space)
    layers = tuple(layers_of(space, counted, sources))
    measured = _counted(count(result.network)) if stated else None
    times = times_of(space, budgets, shipped_only)
    return NetworkFacts(space.name, layers, _counted(counted), measured, len(result.labels) or space.classes, times)


def _counted(counted: dict[str, Any]) -> Counted:
    size = counted["input"]
    return Counted(size["resolution"], size["channels"], size["classes"], counted["macs"], counted["params"])


def layers_of(space: Space, counted: dict[str, Any], sources: dict[str, str]) -> Iterator[Layer]:
    """The blocks of a network; `counted` is its `dnas.cost.count.count`, `sources` their paths in a space."""
    for use, layer in zip(graph_of(space).uses, counted["layers"], strict=True):
        side = None if use.main.side is None else use.main.side.value
        yield Layer(
            use.path, use.kind, {name: q.value for name, q in use.fields.items()}, use.channels_in.value,
            use.main.channels.value, side, layer["macs"], layer["params"], sources.get(use.path, ""),
            tuple(map(_shape, leaves(use.out))),
        )  # fmt: skip


def _shape(tensor: Tensor) -> str:
    """All axes but channels."""
    if tensor.side is not None:
        return f"{tensor.side.value}x{tensor.side.value}"
    return ", ".join(f"{a.size.value} {a.name}" for a in tensor.axes if a.name != CHANNELS) or "vector"
