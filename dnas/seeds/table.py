"""Runs of several seeds as a table: for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dnas.judge.amounts import figure
from dnas.process import tables
from dnas.seeds.figures import MACS, Outcome, Spread, best, spreads


def document(command: str, name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The file's content: no clock, no host; equal runs give equal bytes."""
    found, take = spreads(outcomes), best(outcomes)
    return {
        "command": command,
        "name": name,
        "seeds": [o.seed for o in outcomes],
        "runs": [{"seed": o.seed, "folder": o.folder, "figures": dict(o.figures)} for o in outcomes],
        "mean": {name: spread.mean for name, spread in found.items()},
        "standard_deviation": {name: spread.deviation for name, spread in found.items()},
        "standard_error": {name: spread.error for name, spread in found.items()},
        "different_networks": len({o.network for o in outcomes}),
        "take": None if take is None else {"seed": take.seed, "folder": take.folder, "by": "validation accuracy"},
    }


def head(outcomes: Sequence[Outcome]) -> list[str]:
    """Names of the columns."""
    titles = {MACS: "MACs"}
    return ["seed", *(titles.get(name, name) for name in spreads(outcomes))]


def rows(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    """Texts of the cells: each run, then mean, standard deviation and standard error."""
    found = spreads(outcomes)
    for o in outcomes:
        yield [str(o.seed), *(figure(name, o.figures[name]) for name in found)]
    parts: dict[str, Callable[[Spread], float | None]] = {
        "mean": lambda s: s.mean, "standard deviation": lambda s: s.deviation, "standard error": lambda s: s.error
    }  # fmt: skip
    for title, part in parts.items():
        yield [title, *("-" if (value := part(s)) is None else figure(name, value) for name, s in found.items())]


def said(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What there is to say beside the table."""
    take, networks = best(outcomes), len({o.network for o in outcomes})
    if len(outcomes) > 1 and networks > 1:
        yield f"{networks} different networks in {len(outcomes)} runs"
    if take is None:
        yield "no validation accuracy was measured, so none of them is named as the one to take"
    else:
        yield f"take {take.folder}: the best by validation; test images choose nothing"


def rich_table(outcomes: Sequence[Outcome]) -> Any:
    """For a terminal."""
    return tables.rich_table(head(outcomes), rows(outcomes), whole=True)


def markdown(command: str, name: str, outcomes: Sequence[Outcome]) -> str:
    """The table, and what there is to say of it."""
    lines = [f"# {name}: dnas.{command} with {len(outcomes)} seeds", ""]
    lines += tables.markdown(head(outcomes), rows(outcomes))
    return "\n".join([*lines, "", *(f"{line[:1].upper()}{line[1:]}." for line in said(outcomes))]) + "\n"
