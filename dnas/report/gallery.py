"""Which pictures a report has, in which order, and what is said beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnas.report.chart import Chart, draw
from dnas.report.choices import choice_scenes
from dnas.report.curves import curves, missing, tested
from dnas.report.layers import layers_scene
from dnas.report.network import TALL, network_scene
from dnas.report.pareto import pareto
from dnas.report.runs import Run
from dnas.report.scene import Scene

OPEN_UP_TO = 60
"""More pictures of choices than this are folded away."""


@dataclass(frozen=True)
class Card:
    """One picture with its heading; `narrow` is the same picture for small screens."""

    head: str
    scene: Scene
    caption: str = ""
    narrow: Scene | None = None


@dataclass(frozen=True)
class Section:
    """Pictures under one heading; `layout` is `whole` (one a row) or `thirds`."""

    title: str
    about: str
    cards: tuple[Card, ...]
    layout: str = "thirds"
    folded: bool = False


def sections(runs: Sequence[Run]) -> list[Section]:
    """The sections that have any picture."""
    one = len(runs) == 1
    choices = choice_scenes(runs)
    made = [
        Section(
            "The network" if one else "The networks",
            "From the image to the classes. A shape's height is its channels: in, inside, out. Its colour is the "
            "kernel; the dashed line marks squeeze-excite; e is the expansion. Below, the output map drawn to scale.",
            tuple(_network(run, n, one) for n, run in enumerate(runs)), "whole",
        ),
        Section(
            "Accuracy against cost", "What the budget bought.", tuple(map(_card, [*pareto(runs), *tested(runs)])),
        ),
        Section("The course of the search", "Every quantity over the steps.", tuple(map(_card, curves(runs)))),
        Section(
            "Where the budget goes", "The share of every block; bars of one colour share a scale.",
            (_layers(runs[0]),)
            if one
            else tuple(Card(run.name, layers_scene(run, key=f"layers-{n}")) for n, run in enumerate(runs)),
            "whole" if one else "thirds",
        ),
        Section(
            "How the choices were made",
            "Probability of every option over the steps, stacked: a band that fills the height is a decision. On the "
            "right the option taken.",
            tuple(Card("", scene) for scene in choices), folded=len(choices) > OPEN_UP_TO,
        ),
    ]  # fmt: skip
    return [section for section in made if section.cards]


def notes(runs: Sequence[Run]) -> list[str]:
    """What the page cannot show, and why."""
    absent = missing(runs)
    which = "this run" if len(runs) == 1 else "all of these runs"
    found = [f"Not recorded in the history of {which}: {', '.join(absent)}."] if absent else []
    bare = [run.name for run in runs if not run.facts.inherited_accuracy]
    return found + ([f"No accuracy was recorded for {', '.join(bare)}."] if bare else [])


def scenes(made: Sequence[Section]) -> list[Scene]:
    """Every picture once, as for a wide screen."""
    return [card.scene for section in made for card in section.cards]


def _network(run: Run, position: int, one: bool) -> Card:
    key = f"network-{position}"
    tall = TALL if one else 0.6 * TALL
    wide, narrow = network_scene(run, 1164, key, tall), network_scene(run, 330, f"{key}-narrow", tall)
    return Card("" if one else run.name, wide, "", narrow)


def _layers(run: Run) -> Card:
    return Card("", layers_scene(run, 1164, "layers-0"), "", layers_scene(run, 330, "layers-0-narrow"))


def _card(chart: Chart) -> Card:
    return Card(chart.title, draw(chart), chart.about)
