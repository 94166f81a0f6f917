"""The spaces of a space evolution: error by space, error against each choice of every list, and the moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnas.report.chart import Chart, Series
from dnas.report.runs import tag
from dnas.report.scene import number, series
from dnas.report.table import Table
from dnas.runs.records import ListFacts
from dnas.runs.run import Search

ABOUT = (
    "E-T error of the networks that have each choice, in every space of the search, and the lines fitted to them: "
    "where a line falls the list moves up."
)


def space_charts(runs: Sequence[Search]) -> list[Chart]:
    """The E-T error from space to space; none without such a run."""
    lines = [
        Series(
            tag(run, len(runs)) if len(runs) > 1 else "",
            tuple((float(n), space.et_error) for n, space in enumerate(run.evolution.spaces)),
            series(run.position if len(runs) > 1 else 0), dots=True,
            notes=tuple(f"{space.name}: {space.et_error:.2f} %" for space in run.evolution.spaces),
            tags=tuple(space.name for space in run.evolution.spaces) if len(runs) == 1 else (),
        )
        for run in runs if run.evolution is not None
    ]  # fmt: skip
    about = "Of networks drawn from each space within the budgets: smaller is better."
    return [
        Chart("spaces", "Error from space to space", about, "steps of the space", "E-T error, %", tuple(lines))
    ] * bool(lines)  # fmt: skip


def list_charts(runs: Sequence[Search]) -> list[Chart]:
    """One chart for each list of each run."""
    found = []
    for run in runs:
        spaces = () if run.evolution is None else run.evolution.spaces
        for name in dict.fromkeys(one.name for space in spaces for one in space.lists):
            several = [
                (n, space.name, one) for n, space in enumerate(spaces) for one in space.lists if one.name == name
            ]
            lines = tuple(s for n, space, one in several for s in _lines(n, space, one))
            title = f"{name}, {tag(run, len(runs))}" if len(runs) > 1 else name
            found.append(Chart(f"list-{run.position}-{name}", title, ABOUT, name, "E-T error, %", lines))
    return found


def _lines(n: int, space: str, one: ListFacts) -> Iterator[Series]:
    """The errors of a list in a space, and their line."""
    known = [(x, y) for x, y in zip(one.options, one.et_errors, strict=True) if y is not None]
    notes = tuple(f"{space}, {number(x)}: {y:.2f} %" for x, y in known)
    yield Series(space, tuple(known), series(n), dots=True, notes=notes)
    if one.intercept is not None:
        ends = ((x, one.slope * place + one.intercept) for place, x in enumerate(one.options))
        yield Series("", tuple(ends), series(n), (4, 3))


def moves_table(run: Search, several: bool) -> Table:
    """What became of every list in every step."""
    rows = []
    for space in run.evolution.spaces if run.evolution is not None else ():
        for one in space.lists:
            move = space.moves.get(one.name)
            if move is None:
                continue
            after = _shown(move.options) if move.count else "as it was"
            slope = f"{one.slope:+.2f}"
            rows.append((f"{one.name}, {space.name}", _shown(one.options), slope, after, move.why))
    title = f"Moves of {run.name}" if several else "Moves"
    head = ("list", "choices", "slope, points a choice", "after", "why not as the rule says")
    return Table(title, head, tuple(rows))


def _shown(options: Sequence[float]) -> str:
    return ", ".join(map(number, options))
