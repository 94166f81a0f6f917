"""A run as a row beside others."""

from __future__ import annotations

from typing import NamedTuple

from dnas.judge import amounts
from dnas.judge.facts import accuracy, data_name, kind
from dnas.judge.verdict import level_of
from dnas.runs.run import Run, Search
from dnas.space.units import share as percent

HEAD = ("run", "what", "accuracy", "chance", "measured at", "multiply-adds", "parameters", "counted at", "of budget")


class Cell(NamedTuple):
    """`value` sorts it, `level` is that of an accuracy."""

    text: str
    value: float | str = ""
    level: str = ""


def overview(run: Run, several: bool) -> list[Cell]:
    """The cells after the name; where there are `several` data sets they are named."""
    measured, network = accuracy(run), run.network
    said = [Cell("not ended" if run.unfinished else "–"), Cell("–")]
    if measured is not None:
        level = "–" if measured.chance is None else f"{100 * measured.chance:.3g}%"
        said = [Cell(measured.shown, measured.value, level_of(measured)), Cell(level, measured.chance or "")]
    if network is None:
        return [Cell(kind(run)), *said, *[Cell("–")] * 5]
    inputs, counted = "not stated" if network.delivered is None else network.delivered.images, network.counted
    shares = [b.share for b in (run.facts.budgets if isinstance(run, Search) else ()) if b.share is not None]
    return [
        Cell(kind(run)), *said, Cell(f"{inputs}, {data_name(run)}" if several else inputs),
        Cell(amounts.shown("MACs", counted.macs), counted.macs),
        Cell(amounts.shown("params", counted.params), counted.params), Cell(counted.images),
        Cell(", ".join(map(percent, shares)) or "–", max(shares, default="")),
    ]  # fmt: skip
