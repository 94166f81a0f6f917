"""Accuracy on test images against cost: every run a dot, the front they form a line. A chart for each data set."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report import amounts
from dnas.report.chart import Chart, Series
from dnas.report.curves import percent
from dnas.report.runs import FEW, accuracy, chance_lines, kind, same_data, tag
from dnas.report.scene import Point, series
from dnas.runs.run import NetworkFacts, Run, Search


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both: cost (less is better) and accuracy (more is better), by cost."""
    best: list[Point] = []
    for cost, value in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best


def pareto(runs: Sequence[Run]) -> list[Chart]:
    """One chart a data set and unit of cost: multiply-adds, parameters, and the latencies that budgets limit."""
    measured = [run for run in runs if run.network is not None and accuracy(run) is not None]
    charts = []
    for n, (data, alike) in enumerate(same_data(measured).items()):
        units = dict.fromkeys(unit for run in alike for unit in _costs(run))
        about = f" on {data}" if len(same_data(measured)) > 1 else ""
        charts += [_chart(alike, unit, f"-{n}" if n else "", about, len(runs)) for unit in units]
    return charts


def _costs(run: Run) -> dict[str, float]:
    """Costs of the network as its budgets count it, by unit."""
    if run.network is None:
        return {}
    counted = {"MACs": float(run.network.counted.macs), "params": float(run.network.counted.params)}
    budgets = run.facts.budgets if isinstance(run, Search) else ()
    return counted | {amounts.unit(b.budget): b.cost for b in budgets if "@" in b.budget and b.cost is not None}


def _chart(runs: Sequence[Run], unit: str, key: str, data: str, count: int) -> Chart:
    found: list[Series] = []
    points: list[Point] = []
    for run in runs:
        cost, value = _costs(run).get(unit), accuracy(run)
        if cost is None or value is None:
            continue
        note = f"{run.name} ({kind(run)}): {_shown(unit, cost)}, {value.value:.1%} ({value.name}; {value.split})"
        text = f"{value.name} {value.value:.1%}" if count == 1 else tag(run, FEW + 1)
        name = "" if count == 1 else tag(run, count)
        colour = series(run.position if count > 1 else 0)
        if count == 1 and isinstance(run, Search):
            found.append(_earlier(run, unit, cost))
        found.append(Series(name, ((cost, value.value),), colour, dots=True, notes=(note,), tags=(text,)))
        points.append((cost, value.value))
    best = front(points)
    if len(best) > 1:
        found.insert(0, Series("front", tuple(best), "muted"))
    about = (
        f"Each dot is a network: its exact cost, counted {_inputs(runs, 'counted')}, and its accuracy on test images, "
        f"measured {_inputs(runs, 'delivered')}. "
        + "The line joins those that no other beats in both."
        * (len(best) > 1)
    )
    x_label = f"{unit}, counted {_inputs(runs, 'counted')}"
    y_label = f"test accuracy, measured {_inputs(runs, 'delivered')}"
    return Chart(
        f"pareto-{unit.split(' ')[0].lower()}{key}", f"Accuracy against {unit}{data}", about, x_label, y_label,
        tuple(found), chance_lines(runs), from_zero=True, y_show=percent,
    )  # fmt: skip


def _inputs(runs: Sequence[Run], which: str) -> str:
    """`at 64 px x 1 channel`, where all runs share it."""
    sizes = {_input(run.network, which) for run in runs if run.network is not None}
    return f"at {sizes.pop()}" if len(sizes) == 1 else "at each one's own input"


def _input(network: NetworkFacts, which: str) -> str:
    counted = network.counted if which == "counted" else network.delivered
    return "an input not stated" if counted is None else counted.images


def _shown(unit: str, cost: float) -> str:
    known = {"MACs": amounts.macs, "params": amounts.params}
    return known[unit](cost) if unit in known else f"{cost:.4g} {unit}"


def _earlier(run: Search, unit: str, cost: float) -> Series:
    """Earlier accuracies of the same network."""
    own = run.facts.inherited_accuracy
    earlier = [(k, v) for k, v in own.items() if k != "soft" and not k.endswith("_before")][:-1]
    notes = tuple(f"{run.name}: {_shown(unit, cost)}, {v:.1%} ({k})" for k, v in earlier)
    tags = tuple(f"{k} {v:.1%}" for k, v in earlier)
    return Series("", tuple((cost, v) for _, v in earlier), "s0", dots=True, hollow=True, notes=notes, tags=tags)
