"""A comparison as a chart: every network by its accuracy, with its standard error."""

from __future__ import annotations

from dnas.report import amounts
from dnas.report.chart import Chart, Series
from dnas.report.curves import percent
from dnas.runs.comparison import Compared, Entry, Origin

SHOWN: dict[Origin, tuple[str, str]] = {
    "drawn": ("drawn at its cost", "s3"), "scaled": ("published, scaled to its cost", "s2"),
    "against": ("others", "s1"), "found": ("found", "s0"),
}  # fmt: skip
"""Name in the legend and colour, in the order in which they are drawn."""


def picture(compared: Compared, key: str = "comparison") -> Chart:
    """The chart: costs are alike, so the networks stand side by side, the least accurate first."""
    ordered = sorted(compared.networks, key=lambda entry: entry.accuracy.mean)
    places = {entry.name: float(n) for n, entry in enumerate(ordered, 1)}
    series: list[Series] = []
    for origin, (name, colour) in SHOWN.items():
        mine = [entry for entry in ordered if entry.origin == origin]
        series += [_error(entry, places[entry.name], colour) for entry in mine]
        points = tuple((places[entry.name], entry.accuracy.mean) for entry in mine)
        notes = tuple(f"{e.name}: {e.accuracy.shown}, {amounts.macs(e.macs)}, {e.image_size} px" for e in mine)
        tags = tuple("" if origin == "drawn" else entry.name for entry in mine)
        series.append(Series(name, points, colour, dots=True, hollow=origin != "found", notes=notes, tags=tags))
    lines = () if compared.drawn is None else ((compared.drawn.mean, "mean of those drawn"),)
    return Chart(
        key, "Was the search worth it?",
        "Each dot is a network, trained like all others, the least accurate first; its line reaches one standard error "
        "up and down.",
        "networks by accuracy", "accuracy on test images", tuple(series), lines, x_show=lambda value: "",
        y_show=percent,
    )  # fmt: skip


def _error(entry: Entry, place: float, colour: str) -> Series:
    figure = entry.accuracy
    ends = tuple((place, figure.mean + sign * figure.standard_error) for sign in (-1, 1))
    return Series(entry.name, ends, colour, faint=True)
