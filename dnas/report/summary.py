"""The top of the page: what was run, whether it is good, what to do next, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnas.judge import amounts
from dnas.judge.facts import accuracy, data_name, kind, same_data, tag
from dnas.judge.overview import HEAD, overview
from dnas.judge.steps import next_of_all, next_steps
from dnas.judge.verdict import level_of, overall, verdict
from dnas.report.page import cell, heads
from dnas.report.svg import clean
from dnas.report.theme import SERIES
from dnas.runs.comparison import Compared
from dnas.runs.run import Imported, Run, Search, Training
from dnas.space.units import share as percent

_REPORT = {Search: "Search report", Training: "Training report", Imported: "Imported weights"}


def title(runs: Sequence[Run], compared: Sequence[Compared]) -> str:
    """Of the document."""
    if not runs:
        return f"{', '.join(c.found for c in compared)}: compared"
    return f"{runs[0].name}: {kind(runs[0])}" if len(runs) == 1 else f"{len(runs)} runs compared"


def summary(runs: Sequence[Run], compared: Sequence[Compared]) -> str:
    """Heading, answer, commands, and figures (tiles of one run, a table of several), warnings."""
    if not runs:
        spaces = " · ".join(dict.fromkeys(f"space {c.space}" for c in compared))
        return _head("Comparison report", ", ".join(dict.fromkeys(c.found for c in compared)), spaces)
    parts = list(dict.fromkeys(p for run in runs for p in _said(run)))
    if len(runs) == 1:
        head = _head(_REPORT[type(runs[0])], runs[0].name, " · ".join(parts))
        tiles = "".join(_tiles(runs[0]))
        figures = f'<section class="tiles" aria-label="Result">{tiles}</section>' if tiles else ""
    else:
        names = ", ".join(dict.fromkeys(run.network.name for run in runs if run.network is not None))
        head = _head("Runs side by side", names or "Runs", " · ".join([f"{len(runs)} runs", *parts]))
        figures = _table(runs)
    return head + _answer(runs) + figures + _warnings(runs)


def _head(eyebrow: str, name: str, about: str) -> str:
    return f'<header><p class="eyebrow">{eyebrow}</p><h1>{clean(name)}</h1><p class="lede">{clean(about)}</p></header>'


def _said(run: Run) -> tuple[str, ...]:
    preset = (f"{run.facts.preset} preset",) if isinstance(run, Search) and not run.unfinished else ()
    return tuple(word for word in (kind(run), *preset, data_name(run)) if "not stated" not in word)


def _answer(runs: Sequence[Run]) -> str:
    """Is it good, and what next."""
    said, steps = (verdict(runs[0]), next_steps(runs[0])) if len(runs) == 1 else (overall(runs), next_of_all(runs))
    commands = [f": <code>{clean(s.command)}</code><button class='copy'>copy</button>" * bool(s.command) for s in steps]
    items = "".join(f"<li>{clean(step.why)}{command}</li>" for step, command in zip(steps, commands, strict=True))
    after = f'<p class="ask">What next?</p><ul>{items}</ul>' if items else ""
    words = f'<p class="ask">Is it good?</p><p class="said">{clean(said.text)}</p>'
    return f'<section class="answer {said.level}">{words}{after}</section>'


def _warnings(runs: Sequence[Run]) -> str:
    """What the runs warn of; that of several is folded away."""
    told = [(run.name, note) for run in runs for note in run.warnings]
    text = "".join(f'<p class="warning"><b>{clean(name)}</b> {clean(note)}</p>' for name, note in told)
    if len(runs) == 1 or not told:
        return text
    return f"<details><summary>Warnings of the runs: {len(told)}</summary>{text}</details>"


def _tiles(run: Run) -> Iterator[str]:
    """Accuracy; budgets; costs as counted, and as delivered where that is another input."""
    measured, network = accuracy(run), run.network
    if measured is not None:
        chance = "" if measured.chance is None else f"; chance is {100 * measured.chance:.3g}%"
        at = "" if network is None or network.delivered is None else f" at {network.delivered.images}"
        yield _tile("accuracy", measured.shown, f"{measured.name}; {measured.split}{at}{chance}", level_of(measured))
    for budget in run.facts.budgets if isinstance(run, Search) else ():
        if budget.cost is not None and budget.share is not None:
            counted = "" if network is None or "@" in budget.budget else f", counted at {network.counted.images}"
            why = f"; {budget.unused_because}" if budget.unused_because else ""
            kept, used = "over" if budget.share > 1 else "within", f"{100 * min(budget.share, 1):.2f}"
            meter = f'<div class="meter {kept}"><span style="width:{used}%"></span></div>'
            more = f"{percent(budget.share, 2)} of the budget{counted}{why}"
            yield _tile(f"budget {budget.budget}", amounts.budgeted(budget.budget, budget.cost), more, inside=meter)
    for name, unit, key in (("multiply-adds", "MACs", "macs"), ("parameters", "params", "params")) if network else ():
        assert network is not None
        more = f"{getattr(network.counted, key):,}, counted at {network.counted.images}"
        if network.by_proxy and network.delivered is not None:
            own = amounts.shown(unit, getattr(network.delivered, key))
            more += f"; {own} as trained and exported at {network.delivered.images}"
        yield _tile(name, amounts.shown(unit, getattr(network.counted, key)), more)
    if isinstance(run, Training) and run.facts is not None:
        more = f"{run.facts.accuracy.validation:.1%} on {run.facts.images.validation:,} validation images"
        yield _tile("best epoch", "–" if run.facts.best_epoch is None else f"{run.facts.best_epoch:g}", more)
    facts = run.facts if isinstance(run, Search) else None
    if facts and facts.log_probability is not None and facts.argmax_log_probability is not None:
        gap = "of log-probability" if facts.gap_nats is None else f"certified gap {facts.gap_nats:.3g}"
        lost = abs(facts.argmax_log_probability - facts.log_probability)
        yield _tile("given up for the budget", f"{lost:.2f} nats", gap)


def _tile(name: str, value: str, more: str, level: str = "", inside: str = "") -> str:
    head = f'<p class="name">{clean(name)}</p><p class="value {level}">{clean(value)}</p>'
    return f'<div class="tile">{head}{inside}<p class="more">{clean(more)}</p></div>'


def _table(runs: Sequence[Run]) -> str:
    """Every run a row: to be sorted, filtered, and picked, so that it stands out in the charts."""
    several = len(same_data([run for run in runs if accuracy(run) is not None])) > 1
    rows = []
    for run in runs:
        cells = "".join(cell(head, *found) for head, found in zip(HEAD[1:], overview(run, several), strict=True))
        rows.append(
            f'<tr data-run="{clean(tag(run, len(runs)))}" data-network="{run.position}"><th scope="row" data-value='
            f'"{run.position}"><button aria-pressed="false"><i style="background:var(--s{run.position % SERIES})"></i>'
            f"{run.position + 1} {clean(run.name)}</button></th>{cells}</tr>"
        )
    return (
        '<section class="panel"><p class="controls"><label>Filter <input id="filter" type="search"/></label>'
        f'<span id="filtered" role="status"></span></p><table class="runs">{heads(HEAD)}'
        f'<tbody>{"".join(rows)}</tbody></table><p class="caption">Accuracies on test images, with their standard '
        "errors; those on other data, or at another input, are no comparison. The filter also holds for the charts; a "
        "click on a run makes it stand out there.</p></section>"
    )
