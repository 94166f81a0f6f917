"""A comparison as a table: for a terminal, for a page, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnas.process import tables
from dnas.runs.comparison import Compared, Entry
from dnas.space import units

HEAD = ("network", "MACs", "params", "images", "test accuracy", "seeds")


def head(compared: Compared) -> tuple[str, ...]:
    """Names of the columns: latencies stand after the parameters."""
    return (*HEAD[:3], *(compared.budgets[n] for n in _latencies(compared)), *HEAD[3:])


def rows(compared: Compared) -> Iterator[tuple[str, ...]]:
    """Texts of the cells: the network found, the others, then those drawn with their mean before them."""
    seeds = str(len(compared.seeds))
    yield from (_row(compared, entry) for entry in compared.networks if entry.origin != "drawn")
    drawn = [entry for entry in compared.networks if entry.origin == "drawn"]
    if len(drawn) > 1 and compared.drawn is not None:
        blank = [""] * (len(head(compared)) - 3)
        yield f"mean of {len(drawn)} drawn", *blank, compared.drawn.shown, seeds
    yield from (_row(compared, entry) for entry in drawn)


def rich_table(compared: Compared) -> Any:
    """For a terminal."""
    return tables.rich_table(head(compared), rows(compared), whole=True)


def markdown(compared: Compared) -> str:
    """The sentence, the table and what there is to say of them."""
    lines = [f"# Was the search worth it? {compared.found}", "", compared.sentence, ""]
    lines += tables.markdown(head(compared), rows(compared))
    lines += ["", f"{how(compared)} {compared.standard_errors[:1].upper()}{compared.standard_errors[1:]}."]
    for note in (*compared.notes, *(f"Warning: {text}" for text in compared.warnings)):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def how(compared: Compared) -> str:
    """One sentence on how all were trained."""
    recipe, data = compared.recipe, compared.data
    return (
        f"All trained from scratch by the recipe {recipe.name} ({recipe.epochs:g} epochs) on "
        f"{data.get('name', 'data')}, {compared.test_images:,} test images; MACs and params as budgets count them."
    )


def _row(compared: Compared, entry: Entry) -> tuple[str, ...]:
    times = [entry.costs[n] for n in _latencies(compared)]
    return (
        f"{entry.name} (found)" if entry.origin == "found" else entry.name,
        units.counted(entry.macs), units.counted(entry.params),
        *("-" if ms is None else units.timed(ms) for ms in times),
        f"{entry.image_size} px", entry.accuracy.shown, str(len(compared.seeds)),
    )  # fmt: skip


def _latencies(compared: Compared) -> list[int]:
    """The budgets that are times."""
    return [n for n, text in enumerate(compared.budgets) if "@" in text]
