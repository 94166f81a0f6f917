"""The course of searches: loss, accuracy, costs and multipliers, temperature, entropy, skips, networks compared.

With one run a colour is a quantity; with several a colour is a run and a dash tells quantities apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dnas.report.chart import Chart, Series
from dnas.report.runs import chance_lines, tag
from dnas.report.scene import SERIES, Point, number, series
from dnas.runs.records import Row
from dnas.runs.run import Search

DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 2.5), (8, 3, 2, 3))
Value = Callable[[Row], float | None]
References = tuple[tuple[float, str], ...]


def curves(runs: Sequence[Search]) -> list[Chart]:
    """Every chart of the course that the runs recorded something for."""
    made = [
        *_parted(
            runs, "loss", "Loss", "cross-entropy", {"weights": lambda r: r.loss, "choices": lambda r: r.theta_loss},
            "Cross-entropy on batches of the weights' and of the choices' share of the training data; running mean.",
        ),
        *_parted(
            runs, "accuracy", "Accuracy while learning", "accuracy of the supernet",
            {"weights": lambda r: r.accuracy, "choices": lambda r: r.theta_accuracy},
            "Share of a training batch that the supernet classifies rightly, under the gates drawn at that step; "
            "running mean.", show=percent, references=chance_lines(runs),
        ),
        *_terms(runs),
        _compared(runs),
        _expected(runs),
        _multipliers(runs),
        _chart(
            runs, "temperature", "Temperature", "temperature of the gates", {"": lambda r: r.temperature},
            "The gates are drawn at this temperature: high mixes all options, low comes close to taking one.",
            zero=True,
        ),
        _chart(
            runs, "entropy", "Entropy of the choices", "mean entropy, nats", {"": lambda r: r.entropy},
            "How undecided the choices are, on average over all of them: 0 is decided.", zero=True,
        ),
        _chart(
            runs, "skips", "Skip share", "share of blocks", {"": lambda r: r.skip_share},
            "Mean probability of the skip where a block may be skipped. Near 1 the search has collapsed.", zero=True,
            show=percent,
        ),
        _chart(
            runs, "guard", "Skip guard", "weight of the guard", {"": lambda r: r.skip_guard},
            "How hard the guard against a collapse to skips pushes; 0 while it is not needed.", zero=True,
        ),
    ]  # fmt: skip
    return [chart for chart in made if any(s.points for s in chart.series)]


def missing(runs: Sequence[Search]) -> list[str]:
    """What none of the rows of some run recorded, in words, of the searches that learn what to choose."""
    wanted: dict[str, Callable[[Row], object]] = {
        "probabilities of the choices": lambda r: r.probabilities,
        "skip share": lambda r: r.skip_share,
        "phases of the search": lambda r: r.phase,
        "entropy": lambda r: r.entropy,
        "temperature": lambda r: r.temperature,
    }
    if any(run.facts.budgets for run in runs):
        wanted["expected cost"] = lambda r: r.expected
        wanted["multipliers"] = lambda r: r.multipliers
    learnt = [run for run in runs if any(r.entropy is not None or r.multipliers is not None for r in run.rows)]
    return [
        name for name, value in wanted.items() if not all(any(value(r) is not None for r in run.rows) for run in learnt)
    ]


def percent(value: float) -> str:
    """A share for people, 0.123 as `12.3%`."""
    return f"{100 * value:.4g}%"


def spans(run: Search) -> tuple[tuple[float, float, str], ...]:
    """The phases of a run along its steps."""
    found: list[tuple[float, float, str]] = []
    before = 0.0
    for row in run.rows:
        if row.phase is not None:
            if found and found[-1][2] == row.phase:
                found[-1] = (found[-1][0], row.step, row.phase)
            else:
                found.append((before, row.step, row.phase))
        before = row.step
    return tuple(found)


def _chart(
    runs: Sequence[Search], key: str, title: str, y_label: str, values: dict[str, Value], about: str, *,
    smooth: bool = False, zero: bool = False, show: Callable[[float], str] = number, references: References = (),
) -> Chart:  # fmt: skip
    lines = []
    for run in runs:
        for m, (name, value) in enumerate(values.items()):
            points = tuple(_points(run, value))
            colour, dash = _style(run, m, len(runs))
            label = _label(run, name, len(runs), len(values))
            if smooth and len(points) > 12:
                if len(runs) == 1:
                    lines.append(Series(label, points, colour, faint=True))
                points = tuple(smoothed(points))
            lines.append(Series(label, points, colour, dash))
    return Chart(
        key, title, about, "step", y_label, tuple(lines), spans=spans(runs[0]) if len(runs) == 1 else (),
        references=references if any(line.points for line in lines) else (), from_zero=zero, x_from_zero=True,
        y_show=show,
    )  # fmt: skip


def _parted(
    runs: Sequence[Search], key: str, title: str, y_label: str, values: dict[str, Value], about: str, *,
    show: Callable[[float], str] = number, references: References = (),
) -> list[Chart]:  # fmt: skip
    """Both quantities in one chart for one run, in a chart each for several."""
    if len(runs) == 1:
        return [_chart(runs, key, title, y_label, values, about, smooth=True, show=show, references=references)]
    return [
        _chart(
            runs,
            f"{key}-{name}",
            f"{title}, {name}",
            y_label,
            {"": value},
            about,
            smooth=True,
            show=show,
            references=references,
        )
        for name, value in values.items()
    ]


def _terms(runs: Sequence[Search]) -> list[Chart]:
    """The terms of the losses that have several."""
    names = list(dict.fromkeys(name for run in runs for row in run.rows for name in row.terms))
    values: dict[str, Value] = {name: (lambda row, name=name: row.terms.get(name)) for name in names}
    about = "On batches of the weights' share of the training data, without the terms' weights; running mean."
    return _parted(runs, "terms", "Terms of the loss", "value", values, about)


def _points(run: Search, value: Value) -> Iterator[Point]:
    for row in run.rows:
        found = value(row)
        if found is not None:
            yield float(row.step), found


def smoothed(points: Sequence[Point], share: float = 0.08) -> Iterator[Point]:
    """Mean over a window of about `share` of the points, centred, smaller at the ends."""
    reach = max(1, round(len(points) * share / 2))
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    for n, (x, _) in enumerate(points):
        near = min(reach, n, len(points) - 1 - n)
        yield x, (sums[n + near + 1] - sums[n - near]) / (2 * near + 1)


def _style(run: Search, part: int, runs: int) -> tuple[str, tuple[float, ...]]:
    """Colour by quantity in one run, by run in several (a dash for quantities, and for runs beyond the colours)."""
    if runs == 1:
        return series(part), ()
    return series(run.position), DASHES[(part + run.position // SERIES) % len(DASHES)]


def _label(run: Search, part: str, runs: int, parts: int) -> str:
    if runs == 1:
        return part
    return f"{tag(run, runs)}, {part}" if parts > 1 and part else tag(run, runs)


def _compared(runs: Sequence[Search]) -> Chart:
    """The best of the sampled networks against how many were compared."""
    lines = []
    for run in runs:
        points = {float(r.compared): r.best for r in run.rows if r.compared and r.best is not None}
        colour, dash = _style(run, 0, len(runs))
        lines.append(Series(_label(run, "", len(runs), 1), tuple(points.items()), colour, dash))
    about = (
        "Accuracy of the best network so far, with inherited weights on the choices' share of the training images, "
        "against how many sampled networks were compared."
    )
    return Chart(
        "compared", "Best of the networks compared", about, "networks compared", "accuracy on the choices' share",
        tuple(lines), chance_lines(runs) if any(line.points for line in lines) else (), x_from_zero=True,
        y_show=percent,
    )  # fmt: skip


def _expected(runs: Sequence[Search]) -> Chart:
    """Expected cost over its budget, and the cost of the network found, of searches that know the former."""
    runs = [run for run in runs if any(row.expected is not None for row in run.rows)]
    chart = _per_budget(
        runs, "expected", "Expected against derived cost", "cost / budget",
        "Line: mean cost of networks drawn from the choices' probabilities, as a share of the budget. Dot: exact cost "
        "of the network found, never above 1.",
        lambda row, n: None if row.expected is None else row.expected[n], of_limit=True,
    )  # fmt: skip
    ends = []
    for run in runs:
        for m, budget in enumerate(run.facts.budgets):
            colour, _ = _style(run, m, len(runs))
            if budget.cost is None or budget.share is None:
                continue
            note = f"{run.name}: found {budget.cost:,.6g} of {budget.budget}"
            point = (float(run.rows[-1].step), budget.share)
            ends.append(Series("", (point,), colour, dots=True, notes=(note,)))
    line = ((1.0, "budget"),) if ends else ()
    return replace(chart, series=(*chart.series, *ends), references=line, y_show=percent)


def _multipliers(runs: Sequence[Search]) -> Chart:
    """The budgets' multipliers."""
    return _per_budget(
        runs, "multipliers", "Multipliers of the budgets", "multiplier",
        "How much rarer each budget makes what is expensive, so that the mean cost is the budget; below 0 it makes it "
        "more frequent.",
        lambda row, n: None if row.multipliers is None else row.multipliers[n],
    )  # fmt: skip


def _per_budget(
    runs: Sequence[Search], key: str, title: str, y_label: str, about: str,
    value: Callable[[Row, int], float | None], *,
    of_limit: bool = False,
) -> Chart:  # fmt: skip
    lines = []
    for run in runs:
        for m, budget in enumerate(run.facts.budgets):
            scale = 1 / budget.limit if of_limit else 1.0
            points = tuple((x, scale * y) for x, y in _points(run, lambda row, m=m: value(row, m)))
            colour, dash = _style(run, m, len(runs))
            several = len(run.facts.budgets) + (len(runs) == 1)
            lines.append(Series(_label(run, budget.budget, len(runs), several), points, colour, dash))
    return Chart(
        key, title, about, "step", y_label, tuple(lines), spans=spans(runs[0]) if len(runs) == 1 else (),
        from_zero=not of_limit, x_from_zero=True,
    )  # fmt: skip
