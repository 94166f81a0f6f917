"""The top of the page: what was run, whether it is good, what to do next, and its figures."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report import amounts
from dnas.report.runs import accuracy, data_name, kind, same_data
from dnas.report.scene import series
from dnas.report.steps import next_of_all, next_steps
from dnas.report.svg import clean
from dnas.report.verdict import level_of, overall, verdict
from dnas.runs.records import BudgetResult
from dnas.runs.run import Imported, NetworkFacts, Run, Search, Training
from dnas.space.units import share as percent

_REPORT = {Search: "Search report", Training: "Training report", Imported: "Imported weights"}


def title(runs: Sequence[Run]) -> str:
    """Of the document."""
    return f"{runs[0].name}: {kind(runs[0])}" if len(runs) == 1 else f"{len(runs)} runs compared"


def summary(runs: Sequence[Run]) -> str:
    """Heading, answer, commands, and figures: tiles of one run, a table of several."""
    figures = _tiles(runs[0]) if len(runs) == 1 else _table(runs)
    return _masthead(runs) + _answer(runs) + figures


def _masthead(runs: Sequence[Run]) -> str:
    parts = list(dict.fromkeys(p for run in runs for p in _said(run)))
    about = " · ".join(parts if len(runs) == 1 else [f"{len(runs)} runs", *parts])
    eyebrow = _REPORT[type(runs[0])] if len(runs) == 1 else "Runs side by side"
    names = list(dict.fromkeys(run.network.name for run in runs if run.network is not None))
    name = runs[0].name if len(runs) == 1 else ", ".join(names) or f"{len(runs)} runs"
    return f'<header><p class="eyebrow">{eyebrow}</p><h1>{clean(name)}</h1><p class="lede">{clean(about)}</p></header>'


def _said(run: Run) -> tuple[str, ...]:
    preset = (f"{run.facts.preset} preset",) if isinstance(run, Search) and not run.unfinished else ()
    return tuple(word for word in (kind(run), *preset, data_name(run)) if "not stated" not in word)


def _answer(runs: Sequence[Run]) -> str:
    """Is it good, and what next."""
    said = verdict(runs[0]) if len(runs) == 1 else overall(runs)
    steps = next_steps(runs[0]) if len(runs) == 1 else next_of_all(runs)
    commands = (f": <code>{clean(step.command)}</code>" if step.command else "" for step in steps)
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
    for name, shown, key in (("multiply-adds", amounts.macs, "macs"), ("parameters", amounts.params, "params")):
        value = getattr(network.counted, key)
        more = f"{value:,}, counted at {network.counted.images}"
        if network.by_proxy and network.delivered is not None:
            own = getattr(network.delivered, key)
            more += f"; {shown(own)} as trained and exported at {network.delivered.images}"
        tiles.append(_tile(name, shown(value), more))
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
    rows = []
    several = len(same_data([run for run in runs if accuracy(run) is not None])) > 1
    for run in runs:
        cells = zip(HEAD[1:], _cells(run, several), strict=True)
        pairs = "".join(f'<td data-name="{clean(h)}" class="{level}">{clean(c)}</td>' for h, (c, level) in cells)
        dot = f'<i style="background:var(--{series(run.position)})"></i>'
        rows.append(f'<tr><th scope="row">{dot}{run.position + 1} {clean(run.name)}</th>{pairs}</tr>')
    top = "".join(f'<th scope="col">{clean(h)}</th>' for h in HEAD)
    return (
        f'<section class="compare runs"><table><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        '<p class="caption">Accuracies on test images, with their standard errors; those on other data, or at another '
        "input, are no comparison.</p></section>"
    )


def _cells(run: Run, several: bool) -> list[tuple[str, str]]:
    """Texts of a row, each with its level; `several` data sets are named."""
    measured, network = accuracy(run), run.network
    budgets = run.facts.budgets if isinstance(run, Search) else ()
    shares = ", ".join(percent(b.share) for b in budgets if b.share is not None) or "–"
    found = "not ended" if run.unfinished else "–"
    shown, chance, level = (found, "–", "") if measured is None else (measured.shown, "–", level_of(measured))
    if measured is not None and measured.chance is not None:
        chance = f"{100 * measured.chance:.3g}%"
    if network is None:
        return [(text, "") for text in (kind(run), found, chance, *["–"] * 5)]
    inputs = "not stated" if network.delivered is None else network.delivered.images
    counted = network.counted
    costs = (amounts.macs(counted.macs), amounts.params(counted.params))
    texts = (
        kind(run),
        shown,
        chance,
        f"{inputs}, {data_name(run)}" if several else inputs,
        *costs,
        counted.images,
        shares,
    )
    return [(text, level if n == 1 else "") for n, text in enumerate(texts)]
