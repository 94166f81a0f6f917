"""The course of searches and trainings: every quantity that was recorded, over steps or epochs.

With one run a colour is a quantity; with several each quantity is a chart, and a colour is a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from dnas.judge.facts import chance_lines, tag
from dnas.report.spec import PERCENT, PLAIN, SHOWN, Chart, Row, Spec, chart, colour, hues, levels, mark, q
from dnas.runs.records import Epoch
from dnas.runs.run import Run, Search, Training

MOST = 400
"""Points of a line."""


class Quantity(NamedTuple):
    """What is shown of a row: a value for each name."""

    key: str
    title: str
    about: str
    values: Callable[[Any, Run], dict[str, float | None]]
    form: str = PLAIN
    smooth: bool = False
    zero: bool = True


def _of_budgets(values: Sequence[float] | None, run: Run, share: bool = False) -> dict[str, float | None]:
    budgets = run.facts.budgets if isinstance(run, Search) and values is not None else ()
    return {b.budget: (values or ())[n] / (b.limit if share else 1) for n, b in enumerate(budgets)}


SEARCH = (
    Quantity("loss", "Loss", "Cross-entropy on batches of the weights' and of the choices' share; running mean.",
             lambda r, _: {"weights": r.loss, "choices": r.theta_loss}, smooth=True, zero=False),
    Quantity("accuracy", "Accuracy while learning", "Share of a training batch that the supernet classifies rightly, "
             "under the gates drawn at that step; running mean.",
             lambda r, _: {"weights": r.accuracy, "choices": r.theta_accuracy}, PERCENT, smooth=True),
    Quantity("terms", "Terms of the loss", "Without the terms' weights; running mean.", lambda r, _: dict(r.terms),
             smooth=True),
    Quantity("compared", "Best of the networks compared", "With inherited weights on the choices' share.",
             lambda r, _: {"best so far": r.best}, PERCENT),
    Quantity("expected", "Expected cost over budget", "Mean cost of networks drawn from the choices' probabilities.",
             lambda r, run: _of_budgets(r.expected, run, True), PERCENT),
    Quantity("multipliers", "Multipliers of the budgets", "How much rarer each budget makes what is expensive; below 0 "
             "it makes it more frequent.", lambda r, run: _of_budgets(r.multipliers, run)),
    Quantity("temperature", "Temperature of the gates", "High mixes all options, low comes close to taking one.",
             lambda r, _: {"temperature": r.temperature}),
    Quantity("entropy", "Entropy of the choices", "Mean over the choices: 1 is even chances, 0 is decided.",
             lambda r, _: {"entropy": r.entropy}),
    Quantity("skips", "Skip share", "Mean probability of the skip where a block may be skipped; near 1 the search has "
             "collapsed.", lambda r, _: {"skips": r.skip_share}, PERCENT),
    Quantity("guard", "Skip guard", "How hard the guard against a collapse to skips pushes.",
             lambda r, _: {"guard": r.skip_guard}),
)  # fmt: skip
LEARNT = (
    Quantity("validation", "Accuracy by epoch", "Validation images are held out of the training images and choose the "
             "epoch that is kept; training images are augmented.",
             lambda e, _: {"validation": e.validation_accuracy, "training": e.train_accuracy}, PERCENT),
)  # fmt: skip
TRAINING = (
    Quantity("train-loss", "Loss by epoch", "Mean of the training batches, with augmentation and smoothing.",
             lambda e, _: {"loss": e.loss}, zero=False),
    Quantity("train-terms", "Terms of the loss", "Means of each epoch, without the terms' weights.",
             lambda e, _: dict(e.terms)),
    Quantity("lr", "Learning rate", "Of the last step of each epoch.", lambda e, _: {"learning rate": e.lr}),
)  # fmt: skip


def courses(runs: Sequence[Run], quantities: Sequence[Quantity], count: int) -> Iterator[Chart]:
    """Every chart that the runs recorded something for; `count` runs are on the page."""
    for one in quantities:
        rows = [row for run in runs for row in _rows(run, one, count)]
        parts = list(dict.fromkeys(row["what"] for row in rows))
        if len(runs) == 1 and rows:
            yield _chart(one, one.key, one.title, rows, colour("what", parts), runs)
        for part in parts if len(runs) > 1 else ():
            key, title = (f"{one.key}-{part}", f"{one.title}: {part}") if len(parts) > 1 else (one.key, one.title)
            own = [row for row in rows if row["what"] == part]
            yield _chart(one, key, title, own, hues(runs, count), runs)


def missing(runs: Sequence[Search]) -> str:
    """What none of the searches recorded: their strategy has it not, or they are of an older version."""
    absent = [one.title for one in SEARCH if not any(next(_rows(run, one, 1), None) for run in runs)]
    return f"Not recorded: {', '.join(absent)}." if runs and absent else ""


def _rows(run: Run, one: Quantity, count: int) -> Iterator[Row]:
    points: Sequence[Any] = run.rows if isinstance(run, Search) else run.epochs if isinstance(run, Training) else ()
    kept = {len(points) - 1 - n for n in range(0, len(points), max(1, -(-len(points) // MOST)))}
    for point in (points[n] for n in sorted(kept)):
        at = point.epoch if isinstance(point, Epoch) else point.step
        for part, value in one.values(point, run).items():
            if value is not None:
                yield {"run": tag(run, count), "what": part.replace("_", " "), "at": at, "value": value}


def _chart(one: Quantity, key: str, title: str, rows: list[Row], coloured: Spec, runs: Sequence[Run]) -> Chart:
    at = "epoch" if isinstance(runs[0], Training) else "step"
    lines = len({(row["run"], row["what"]) for row in rows})
    reach = max(1, len(rows) // (lines * 25)) if one.smooth else 0
    common: Spec = {"x": q("at", at, "~s"), "y": q("value", " ", one.form, one.zero), "color": coloured}
    common["detail"] = {"field": "run"}
    faint: Spec = {"strokeWidth": 1, "opacity": 0.3} if reach else {"strokeWidth": 2, "opacity": SHOWN}
    marks = [mark("line", zoom=True, **common, **faint)]
    if reach:
        window = {"window": [{"op": "mean", "field": "value", "as": "mean"}], "frame": [-reach, reach]}
        smooth = mark("line", strokeWidth=2, **{**common, "y": {**common["y"], "field": "mean"}}, opacity=SHOWN)
        marks.append({"transform": [{**window, "sort": [{"field": "at"}], "groupby": ["run", "what"]}], **smooth})
    # Points are seen where there are few, and told of everywhere.
    few, told = 0.9 * (len(rows) <= 12 * lines), f"run, what, at:~s, value:{one.form}"
    seen = {"condition": {"test": "shown != '' && datum.run != shown", "value": 0}, "value": few}
    marks.append(mark("point", None, told, filled=True, size=40, **common, opacity=seen))
    marks += levels(chance_lines(runs)) if one.key in ("accuracy", "compared", "validation") else []
    return chart(key, title, one.about + _phases(runs), rows, *marks, tall=200)


def _phases(runs: Sequence[Run]) -> str:
    """The phases of a single search, in words."""
    rows = runs[0].rows if len(runs) == 1 and isinstance(runs[0], Search) else ()
    ends = {row.phase: row.step for row in rows if row.phase}
    return f" Phases: {', '.join(f'{phase} to step {step}' for phase, step in ends.items())}." if ends else ""
