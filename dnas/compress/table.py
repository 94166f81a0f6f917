"""Before and after, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnas.compress.measured import Figures
from dnas.process import tables
from dnas.space import units

HEADER = ("", "FLOPs", "params", "size", "ms, 1 thread", "test accuracy")


def rows(found: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """A row of cells a stage; shares are of the first stage."""
    first = next(iter(found.values()))
    return [(name, *_cells(figures, first)) for name, figures in found.items()]


def _cells(of: Figures, first: Figures) -> tuple[str, ...]:
    def share(value: float, whole: float) -> str:
        return "" if value == whole else f" ({value / whole:.0%})"

    time = "-" if of.ms is None or first.ms is None else f"{of.ms:.3g}{share(of.ms, first.ms)}"
    return (
        units.counted(of.counted.macs, "FLOPs") + share(of.counted.macs, first.counted.macs),
        units.counted(of.counted.params, "params") + share(of.counted.params, first.counted.params),
        f"{of.bytes / 1e6:.4g} MB" + share(of.bytes, first.bytes),
        time,
        units.accuracy(of.tally.accuracy, of.tally.images),
    )


def rich_table(found: Mapping[str, Figures]) -> Any:
    """For a terminal."""
    return tables.rich_table(HEADER, rows(found))


def markdown(found: Mapping[str, Figures]) -> str:
    """For a file."""
    return "\n".join(tables.markdown(HEADER, rows(found))) + "\n"
