"""How a network came about: what each step made of its cost, its size and its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dnas.report import amounts
from dnas.report.chart import Chart, Series
from dnas.report.curves import percent
from dnas.report.runs import tag
from dnas.report.scene import series
from dnas.report.table import Table
from dnas.runs.lineage import Step
from dnas.runs.run import Run

COSTS: dict[str, tuple[str, Callable[[Step], float]]] = {
    "macs": ("MACs", lambda step: step.macs), "size": ("MB of weights", lambda step: step.bytes / 1e6),
}  # fmt: skip
PLAIN = ("search", "train")
MADE_SMALLER = "ms"
"""Of the provenance of a network that was made smaller: times on the machine, stage by stage."""


def grown(runs: Sequence[Run]) -> list[Run]:
    """The runs that several steps led to, one of them a compression."""
    return [run for run in runs if len(run.lineage) > 1 and any(step.step not in PLAIN for step in run.lineage)]


def lineages(runs: Sequence[Run]) -> list[Chart]:
    """Accuracy along the steps, against each cost and against the time on the machine where it was taken."""
    charts = [_chart(runs, key, unit, cost) for key, (unit, cost) in COSTS.items()]
    return [*charts, *_timed(runs)]


def _chart(runs: Sequence[Run], key: str, unit: str, cost: Callable[[Step], float]) -> Chart:
    lines = []
    for run in runs:
        known = [(step, step.accuracy) for step in run.lineage if step.accuracy is not None]
        points = tuple((cost(step), accuracy) for step, accuracy in known)
        notes = tuple(f"{step.step} {step.detail}: {amounts.macs(step.macs)}, {a:.1%}" for step, a in known)
        lines += _joined(run, len(runs), points, notes, tuple(step.step for step, _ in known))
    about = "Each dot is the network after a step, on images that chose nothing; the line follows the steps."
    return Chart(
        f"lineage-{key}", f"From step to step, against {unit}", about, unit, "test accuracy", tuple(lines),
        from_zero=True, x_from_zero=True, y_show=percent,
    )  # fmt: skip


def _timed(runs: Sequence[Run]) -> list[Chart]:
    lines = []
    for run in runs:
        times, stages = (run.provenance or {}).get(MADE_SMALLER), run.stages
        if not isinstance(times, dict):
            continue
        known = [(times[s.stage], s) for s in stages if isinstance(times.get(s.stage), int | float)]
        points = tuple((float(ms), s.test_accuracy) for ms, s in known)
        notes = tuple(f"{s.stage}: {ms:.3g} ms, {s.test_accuracy:.1%}" for ms, s in known)
        lines += _joined(run, len(runs), points, notes, tuple(s.stage for _, s in known))
    if not lines:
        return []
    about = "One image in onnxruntime, on one thread of the machine that made the network smaller."
    return [Chart(
        "lineage-ms", "Before and after, against time", about, "ms", "test accuracy", tuple(lines), from_zero=True,
        x_from_zero=True, y_show=percent,
    )]  # fmt: skip


def _joined(
    run: Run, count: int, points: tuple[tuple[float, float], ...], notes: tuple[str, ...], names: tuple[str, ...]
) -> list[Series]:  # fmt: skip
    """A line and its dots, which are named where the run stands alone."""
    colour = series(run.position if count > 1 else 0)
    name, tags = (tag(run, count), ()) if count > 1 else ("", names)
    dots = Series(name, points, colour, dots=True, notes=notes, tags=tags)
    return [Series("", points, "muted"), dots]


def steps_table(run: Run, several: bool) -> Table:
    """A row a step."""
    rows = tuple(
        (
            " ".join(filter(None, (step.step, step.detail))), amounts.macs(step.macs), amounts.params(step.params),
            f"{step.bytes / 1e6:.4g} MB", "–" if step.accuracy is None else f"{step.accuracy:.1%}",
        )
        for step in run.lineage
    )  # fmt: skip
    title = f"Steps of {run.name}" if several else "The steps"
    return Table(title, ("step", "MACs", "parameters", "size", "test accuracy"), rows)
