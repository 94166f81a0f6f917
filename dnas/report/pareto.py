"""Accuracy against cost: every run a dot, the front they form a line; a slimming chain step by step."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report.chart import Chart, Series
from dnas.report.curves import percent
from dnas.report.runs import Run
from dnas.report.scene import Point, number, series


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both: cost (less is better) and accuracy (more is better), by cost."""
    best: list[Point] = []
    for cost, accuracy in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


def pareto(runs: Sequence[Run]) -> list[Chart]:
    """One chart a unit of cost: multiply-adds, parameters, and what else the chains and budgets count."""
    units = dict.fromkeys(("MACs", "params"))
    units |= dict.fromkeys(unit for run in runs for unit in _costs(run))
    units |= dict.fromkeys(unit for run in runs for step in run.chain for unit in step.cost)
    charts = [_chart(runs, unit) for unit in units]
    return [chart for chart in charts if any(s.points for s in chart.series)]


def _costs(run: Run) -> dict[str, float]:
    """Costs of the network found, by unit."""
    latencies = {f"ms {b.budget.partition('@')[2]}".strip(): b.cost for b in run.facts.budgets if "@" in b.budget}
    return {"MACs": float(run.macs), "params": float(run.params), **latencies}


def _chart(runs: Sequence[Run], unit: str) -> Chart:
    found: list[Series] = []
    points: list[Point] = []
    for n, run in enumerate(runs):
        cost = _costs(run).get(unit)
        chain = [(step.cost[unit], step.accuracy) for step in run.chain if unit in step.cost]
        if chain:
            label = f"{run.name}, chain" if len(runs) > 1 else "slimming chain"
            found.append(Series(label, tuple(sorted(chain)), series(n), (4, 3)))
        steps = [step for step in run.chain if unit in step.cost]
        found.append(Series(
            "", tuple(chain), series(n), dots=True, hollow=True,
            notes=tuple(f"{s.action}: {number(s.cost[unit])} {unit}, {s.accuracy:.1%}" for s in steps),
        ))  # fmt: skip
        points += chain
        if cost is not None and run.accuracy is not None:
            name, accuracy = run.accuracy
            if len(runs) == 1:
                found.append(_others(run, unit, cost))
            note = f"{run.name}: {cost:,.6g} {unit}, {accuracy:.1%} ({name}; {run.facts.accuracy_split})"
            tags = (f"{name} {accuracy:.1%}",) if len(runs) == 1 else (run.name,) * (len(runs) <= 6)
            label = "" if tags else run.name
            found.append(Series(label, ((cost, accuracy),), series(n), dots=True, notes=(note,), tags=tags))
            points.append((cost, accuracy))
    best = front(points)
    if len(best) > 1:
        found.insert(0, Series("front", tuple(best), "muted"))
    about = (
        f"Each dot is a network found: its exact {unit} and its accuracy on test images with inherited weights. "
        "The line joins those that no other beats in both."
    )
    return Chart(
        f"pareto-{unit.split(' ')[0].lower()}", f"Accuracy against {unit}", about, unit, "accuracy on test images",
        tuple(found), y_show=percent,
    )  # fmt: skip


def _others(run: Run, unit: str, cost: float) -> Series:
    """Earlier accuracies of the same network."""
    own = run.facts.inherited_accuracy
    earlier = [(k, v) for k, v in own.items() if k != "soft" and not k.endswith("_before")][:-1]
    notes = tuple(f"{run.name}: {cost:,.6g} {unit}, {v:.1%} ({k})" for k, v in earlier)
    tags = tuple(f"{k} {v:.1%}" for k, v in earlier)
    return Series("", tuple((cost, v) for _, v in earlier), "s0", dots=True, hollow=True, notes=notes, tags=tags)
