"""A comparison as a table: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnas.errors import InputError
from dnas.files import read_document
from dnas.space import units

HEADS = ("network", "MACs", "params", "images", "test accuracy", "seeds")


def rows(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Texts of the table's cells: the network found, the others, then those drawn with their mean before them."""
    networks = document["networks"]
    latencies = [n for n, text in enumerate(document["budgets"]) if "@" in text]
    seeds = str(len(document["seeds"]))

    def row(entry: Mapping[str, Any]) -> tuple[str, ...]:
        times = [entry["costs"][n] for n in latencies]
        name = f"{entry['name']} (found)" if entry["origin"] == "found" else entry["name"]
        return (
            name, units.counted(entry["macs"]), units.counted(entry["params"]),
            *("-" if ms is None else units.timed(ms) for ms in times),
            f"{entry['image_size']} px", _accuracy(entry["accuracy"]), seeds,
        )  # fmt: skip

    yield from (row(entry) for entry in networks if entry["origin"] != "drawn")
    drawn = [entry for entry in networks if entry["origin"] == "drawn"]
    if len(drawn) > 1:
        blank = [""] * (3 + len(latencies))
        yield f"mean of {len(drawn)} drawn", *blank, _accuracy(document["drawn"]), seeds
    yield from (row(entry) for entry in drawn)


def heads(document: Mapping[str, Any]) -> list[str]:
    """Names of the columns."""
    return [*HEADS[:3], *(text for text in document["budgets"] if "@" in text), *HEADS[3:]]


def rich_table(document: Mapping[str, Any]) -> Any:
    """For a terminal."""
    from rich.table import Table

    found = Table(box=None, pad_edge=False, header_style="bold")
    for n, name in enumerate(heads(document)):
        found.add_column(name, justify="right" if n else "left", no_wrap=True)
    for row in rows(document):
        found.add_row(*row)
    return found


def markdown(document: Mapping[str, Any]) -> str:
    """The table, the sentence and what there is to say of them."""
    names = heads(document)
    lines = [f"# Was the search worth it? {document['found']}", "", document["sentence"], ""]
    lines += [_line(names), _line(["---", *["---:"] * (len(names) - 1)])]
    lines += [_line(row) for row in rows(document)]
    recipe = document["recipe"]
    lines += [
        "",
        f"All trained from scratch by the recipe {recipe['name']} ({recipe['epochs']:g} epochs) on "
        f"{document['data']['name']}; MACs and params as counted for budgets. {document['errors']}.",
    ]
    for note in (*document["notes"], *(f"Warning: {w}" for w in document["warnings"])):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def check(folder: Path) -> None:
    """Reads a comparison back; raises `InputError` where it is damaged."""
    file = folder / "comparison.json"
    data = read_document(file).data
    if not isinstance(data, dict) or "sentence" not in data:
        raise InputError(str(file), "not a comparison")
    for _ in rows(data):
        pass


def _accuracy(figure: Mapping[str, Any]) -> str:
    return f"{100 * figure['mean']:.1f} +- {100 * figure['standard_error']:.1f} %"


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
