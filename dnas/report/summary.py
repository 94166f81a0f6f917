"""The top of the page: what was run, whether it is good, what to do next, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dnas.report import amounts
from dnas.report.runs import accuracy, data_name, kind, same_data, tag
from dnas.report.steps import next_of_all, next_steps
from dnas.report.svg import clean
from dnas.report.theme import SERIES
from dnas.report.verdict import level_of, overall, verdict
from dnas.runs.comparison import Compared
from dnas.runs.records import BudgetResult
from dnas.runs.run import Imported, NetworkFacts, Run, Search, Training
from dnas.space.units import share as percent

_REPORT = {Search: "Search report", Training: "Training report", Imported: "Imported weights"}


def title(runs: Sequence[Run], compared: Sequence[Compared]) -> str:
    """Of the document."""
    if not runs:
        return f"{', '.join(c.found for c in compared)}: compared"
    return f"{runs[0].name}: {kind(runs[0])}" if len(runs) == 1 else f"{len(runs)} runs compared"


def summary(runs: Sequence[Run]) -> str:
    """Heading, answer, commands, and figures: tiles of one run, a table of several."""
    figures = _tiles(runs[0]) if len(runs) == 1 else _table(runs)
    return _masthead(runs) + _answer(runs) + figures


def of_comparisons(compared: Sequence[Compared]) -> str:
    """The top of a page of comparisons alone."""
    names = ", ".join(dict.fromkeys(c.found for c in compared))
    spaces = " · ".join(dict.fromkeys(f"space {c.space}" for c in compared))
    return _head("Comparison report", names, spaces)


def warnings(runs: Sequence[Run]) -> str:
    """What the runs warn of; that of several is folded away."""
    told = [(run.name, note) for run in runs for note in run.warnings]
    text = "".join(f'<p class="warning"><b>{clean(name)}</b> {clean(note)}</p>' for name, note in told)
    if len(runs) == 1 or not told:
        return text
    return f"<details><summary>{len(told)} warnings of {len({name for name, _ in told})} runs</summary>{text}</details>"


def _head(eyebrow: str, name: str, about: str) -> str:
    return f'<header><p class="eyebrow">{eyebrow}</p><h1>{clean(name)}</h1><p class="lede">{clean(about)}</p></header>'


def _masthead(runs: Sequence[Run]) -> str:
    parts = list(dict.fromkeys(p for run in runs for p in _said(run)))
    about = " · ".join(parts if len(runs) == 1 else [f"{len(runs)} runs", *parts])
    eyebrow = _REPORT[type(runs[0])] if len(runs) == 1 else "Runs side by side"
    names = list(dict.fromkeys(run.network.name for run in runs if run.network is not None))
    name = runs[0].name if len(runs) == 1 else ", ".join(names) or f"{len(runs)} runs"
    return _head(eyebrow, name, about)


def _said(run: Run) -> tuple[str, ...]:
    preset = (f"{run.facts.preset} preset",) if isinstance(run, Search) and not run.unfinished else ()
    return tuple(word for word in (kind(run), *preset, data_name(run)) if "not stated" not in word)


def _answer(runs: Sequence[Run]) -> str:
    """Is it good, and what next."""
    said = verdict(runs[0]) if len(runs) == 1 else overall(runs)
    steps = next_steps(runs[0]) if len(runs) == 1 else next_of_all(runs)
    commands = (
        f": <code>{clean(step.command)}</code><button class='copy'>copy</button>" if step.command else ""
        for step in steps
    )
    items = "".join(f"<li>{clean(step.why)}{command}</li>" for step, command in zip(steps, commands, strict=True))
    after = f'<p class="ask">What next?</p><ul>{items}</ul>' if items else ""
    return (
        f'<section class="answer {said.level}"><p class="ask">Is it good?</p><p class="said">{clean(said.text)}</p>'
        f"{after}</section>"
    )


def _tiles(run: Run) -> str:
    tiles = (
        []
        if not isinstance(run, Search)
        else [_budget_tile(b, b.cost, run) for b in run.facts.budgets if b.cost is not None]
    )
    measured, network = accuracy(run), run.network
    if measured is not None:
        chance = "" if measured.chance is None else f"; chance is {100 * measured.chance:.3g}%"
        at = "" if network is None or network.delivered is None else f" at {network.delivered.images}"
        more = f"{measured.name}; {measured.split}{at}{chance}"
        tiles.append(_tile("accuracy", f"{measured.value:.1%}", more, level=level_of(measured)))
    if network is not None:
        tiles += _costs(network)
    if isinstance(run, Training) and run.facts is not None:
        more = f"{run.facts.accuracy.validation:.1%} on {run.facts.images.validation:,} validation images"
        epoch = "–" if run.facts.best_epoch is None else f"{run.facts.best_epoch:g}"
        tiles.append(_tile("best epoch", epoch, more))
    if isinstance(run, Search):
        tiles += _given_up(run)
    return f'<section class="tiles" aria-label="Result">{"".join(tiles)}</section>' if tiles else ""


def _costs(network: NetworkFacts) -> list[str]:
    """Multiply-adds and parameters as counted; and as delivered, where that is another input."""
    tiles = []
    for name, unit, key in (("multiply-adds", "MACs", "macs"), ("parameters", "params", "params")):
        value = getattr(network.counted, key)
        more = f"{value:,}, counted at {network.counted.images}"
        if network.by_proxy and network.delivered is not None:
            own = getattr(network.delivered, key)
            more += f"; {amounts.shown(unit, own)} as trained and exported at {network.delivered.images}"
        tiles.append(_tile(name, amounts.shown(unit, value), more))
    return tiles


def _given_up(run: Search) -> list[str]:
    facts = run.facts
    if facts.log_probability is None or facts.argmax_log_probability is None:
        return []
    lost = facts.argmax_log_probability - facts.log_probability
    gap = "of log-probability" if facts.gap_nats is None else f"certified gap {facts.gap_nats:.3g}"
    return [_tile("given up for the budget", f"{abs(lost):.2f} nats", gap)]


def _tile(name: str, value: str, more: str, inside: str = "", level: str = "") -> str:
    head = f'<p class="name">{clean(name)}</p><p class="value {level}">{clean(value)}</p>'
    return f'<div class="tile">{head}{inside}<p class="more">{clean(more)}</p></div>'


def _budget_tile(budget: BudgetResult, cost: float, run: Search) -> str:
    share = cost / budget.limit
    kept = "within" if share <= 1 else "over"
    meter = f'<div class="meter {kept}"><span style="width:{100 * min(share, 1):.2f}%"></span></div>'
    counted = "" if run.network is None or "@" in budget.budget else f", counted at {run.network.counted.images}"
    why = f"; {budget.unused_because}" if budget.unused_because else ""
    more = f"{percent(share, 2)} of the budget{counted}{why}"
    return _tile(f"budget {budget.budget}", amounts.budgeted(budget.budget, cost), more, meter)


HEAD = ("run", "what", "accuracy", "chance", "measured at", "multiply-adds", "parameters", "counted at", "of budget")


def _table(runs: Sequence[Run]) -> str:
    """Every run a row: to be sorted, filtered, and picked, so that it stands out in the charts."""
    several = len(same_data([run for run in runs if accuracy(run) is not None])) > 1
    rows = []
    for run in runs:
        cells = zip(HEAD[1:], _cells(run, several), strict=True)
        pairs = "".join(
            f'<td data-name="{clean(head)}" class="{cell.level}" data-value="{cell.value}">{clean(cell.text)}</td>'
            for head, cell in cells
        )
        label = clean(tag(run, len(runs)))
        rows.append(
            f'<tr data-run="{label}" data-network="{run.position}"><th scope="row" data-value="{run.position}">'
            f'<button aria-pressed="false"><i style="background:var(--s{run.position % SERIES})"></i>'
            f"{run.position + 1} {clean(run.name)}</button></th>{pairs}</tr>"
        )
    top = "".join(f'<th scope="col" aria-sort="none"><button>{clean(head)}</button></th>' for head in HEAD)
    return (
        '<section class="panel"><p class="controls"><label>Filter <input id="filter" type="search"/></label>'
        '<span id="filtered" role="status"></span></p>'
        f'<table class="runs"><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table><p class="caption">'
        "Accuracies on test images, with their standard errors; those on other data, or at another input, are no "
        "comparison. The filter also holds for the charts; a click on a run makes it stand out there.</p></section>"
    )


class _Cell(NamedTuple):
    """`value` sorts it."""

    text: str
    value: float | str = ""
    level: str = ""


def _cells(run: Run, several: bool) -> list[_Cell]:
    """Of a row; `several` data sets are named."""
    measured, network = accuracy(run), run.network
    budgets = run.facts.budgets if isinstance(run, Search) else ()
    shares = [b.share for b in budgets if b.share is not None]
    if measured is None:
        said = [_Cell("not ended" if run.unfinished else "–"), _Cell("–")]
    else:
        level = "–" if measured.chance is None else f"{100 * measured.chance:.3g}%"
        said = [_Cell(measured.shown, measured.value, level_of(measured)), _Cell(level, measured.chance or "")]
    if network is None:
        return [_Cell(kind(run)), *said, *[_Cell("–")] * 5]
    inputs, counted = "not stated" if network.delivered is None else network.delivered.images, network.counted
    return [
        _Cell(kind(run)), *said, _Cell(f"{inputs}, {data_name(run)}" if several else inputs),
        _Cell(amounts.shown("MACs", counted.macs), counted.macs),
        _Cell(amounts.shown("params", counted.params), counted.params), _Cell(counted.images),
        _Cell(", ".join(map(percent, shares)) or "–", max(shares, default="")),
    ]  # fmt: skip
