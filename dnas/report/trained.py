"""The course of trainings: loss, accuracy and learning rate by epoch, and the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dnas.report.chart import Chart, Series
from dnas.report.curves import DASHES, percent
from dnas.report.runs import chance_lines, option_text, tag
from dnas.report.scene import SERIES, number, series
from dnas.report.table import Table
from dnas.runs.records import Epoch
from dnas.runs.run import Training

Value = Callable[[Epoch], float | None]


def epochs(runs: Sequence[Training]) -> list[Chart]:
    """Every chart of the trainings."""
    made = [
        _chart(
            runs, "train-loss", "Loss by epoch", "loss", {"": lambda e: e.loss},
            "Mean loss of the training batches of each epoch, with the recipe's augmentation and smoothing.",
        ),
        *_terms(runs),
        *_accuracies(runs),
        _chart(
            runs, "lr", "Learning rate", "learning rate", {"": lambda e: e.lr},
            "The learning rate of the last step of each epoch.", zero=True,
        ),
    ]  # fmt: skip
    return [chart for chart in made if any(s.points for s in chart.series)]


def _terms(runs: Sequence[Training]) -> list[Chart]:
    """The terms of the losses that have several: in one chart for one run, in a chart each for several."""
    names = list(dict.fromkeys(name for run in runs for epoch in run.epochs for name in epoch.terms))
    values: dict[str, Value] = {name: (lambda e, name=name: e.terms.get(name)) for name in names}
    about = "Means over the training batches of each epoch, without the terms' weights."
    if len(runs) == 1:
        return [_chart(runs, "train-terms", "Terms of the loss", "value", values, about)]
    return [
        _chart(runs, f"train-term-{n}", f"Loss: {name.replace('_', ' ')}", "value", {"": value}, about)
        for n, (name, value) in enumerate(values.items())
    ]


def _accuracies(runs: Sequence[Training]) -> list[Chart]:
    """Training and validation in one chart for one run, the validation of all for several."""
    values: dict[str, Value] = {"validation": lambda e: e.validation_accuracy}
    if len(runs) == 1:
        values["training, augmented"] = lambda e: e.train_accuracy
    chart = _chart(
        runs, "validation", "Accuracy by epoch", "accuracy", values,
        "Validation images are held out of the training images and choose the epoch that is kept; the dot is that "
        "epoch on the test images, which choose nothing.", zero=True, show=percent,
    )  # fmt: skip
    lines = (*chart.series, *(_tested(run, len(runs)) for run in runs))
    references = chance_lines(runs) if any(s.points for s in lines) else ()
    return [Chart(**{**vars(chart), "series": lines, "references": references})]


def _tested(run: Training, runs: int) -> Series:
    if run.facts is None or run.facts.best_epoch is None:
        return Series("", (), series(0), dots=True)
    value = run.facts.accuracy.test
    note = f"{run.name}: {value:.1%} on {run.facts.images.test:,} test images"
    return Series(
        "test" if runs == 1 else "", ((run.facts.best_epoch, value),), series(2 if runs == 1 else run.position),
        dots=True, notes=(note,), tags=(f"test {value:.1%}",) * (runs == 1),
    )  # fmt: skip


def _chart(
    runs: Sequence[Training], key: str, title: str, y_label: str, values: dict[str, Value], about: str, *,
    zero: bool = False, show: Callable[[float], str] = number,
) -> Chart:  # fmt: skip
    lines = []
    for run in runs:
        for n, (name, value) in enumerate(values.items()):
            points = tuple((e.epoch, y) for e in run.epochs if (y := value(e)) is not None)
            one = len(runs) == 1
            colour, dash = (series(n), ()) if one else (series(run.position), DASHES[run.position // SERIES % 4])
            lines.append(Series(name if one else tag(run, len(runs)), points, colour, dash))
    return Chart(
        key, title, about, "epoch", y_label, tuple(lines), from_zero=zero, x_from_zero=True, y_show=show
    )  # fmt: skip


def recipe_table(runs: Sequence[Training]) -> Table:
    """The recipe of one training; of several the settings that they do not share, a row each."""
    known = [run for run in runs if run.facts is not None]
    keys = list(dict.fromkeys(key for run in known for key in _recipe(run)))
    if len(known) == 1:
        rows = tuple((key.replace("_", " "), _recipe(known[0])[key]) for key in keys)
        return Table("The recipe", ("setting", "value"), rows, open_rows=0)
    differ = [key for key in keys if len({_recipe(run).get(key) for run in known}) > 1]
    told = [", ".join(f"{key.replace('_', ' ')} {_recipe(run).get(key, '–')}" for key in differ) for run in known]
    rows = tuple(
        (f"{run.position + 1} {run.name}", text or "as the others") for run, text in zip(known, told, strict=True)
    )
    return Table("What differs in the recipes", ("run", "settings"), rows)


def _recipe(run: Training) -> dict[str, str]:
    """The settings as texts."""
    settings = {} if run.facts is None else run.facts.recipe
    return {key: _setting(value) for key, value in settings.items()}


def _setting(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(option_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else option_text(value)
