"""Accuracies after the search, on one axis of names: soft, derived, settled."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.report.chart import Chart, Series
from dnas.report.curves import percent
from dnas.report.runs import chance_lines, tag
from dnas.report.scene import series
from dnas.runs.run import Search

ABOUT = (
    "Soft: the supernet with all options mixed; derived: the network found with inherited weights; settled: the same "
    "after learning on. Test images, which choose nothing."
)


def tested(runs: Sequence[Search]) -> list[Chart]:
    """The chart, or none where nothing was measured."""
    runs = [run for run in runs if run.facts.inherited_accuracy]
    names = list(dict.fromkeys(k for run in runs for k in run.facts.inherited_accuracy if not k.endswith("_before")))
    lines = [line for run in runs for line in _lines(run, names, len(runs))]

    def name(value: float) -> str:
        index = round(value)
        return names[index] if abs(value - index) < 1e-6 and 0 <= index < len(names) else ""

    chart = Chart(
        "tested", "Accuracy after the search", ABOUT, "", "accuracy on test images", tuple(lines), chance_lines(runs),
        from_zero=True, x_show=name, y_show=percent,
    )  # fmt: skip
    return [chart] if names else []


def _lines(run: Search, names: list[str], runs: int) -> list[Series]:
    own, where = run.facts.inherited_accuracy, run.facts.accuracy_split
    after = tuple((float(names.index(k)), v) for k, v in own.items() if k in names)
    notes = tuple(f"{run.name}, {names[int(x)]}: {y:.1%} ({where})" for x, y in after)
    if runs > 1:
        return [Series(tag(run, runs), after, series(run.position), dots=True, notes=notes)]
    before = tuple((float(names.index(k)), own[f"{k}_before"]) for k in own if f"{k}_before" in own)
    earlier = tuple(f"{names[int(x)]}, batch norms as they were: {y:.1%} ({where})" for x, y in before)
    tags = tuple(f"{y:.1%}" for _, y in after)
    return [
        Series("batch norms as they were", before, series(1), dots=True, hollow=True, notes=earlier),
        Series("batch norms estimated again", after, series(0), dots=True, notes=notes, tags=tags),
    ]
