"""Which pictures and tables a report has, in which order, and what is said beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnas.report.chain import actions_table, chains, family_table
from dnas.report.chart import Chart, draw
from dnas.report.choices import choice_scenes, choices_table
from dnas.report.curves import curves, missing
from dnas.report.layers import layers_scene
from dnas.report.lineage import grown, lineages, steps_table
from dnas.report.network import TALL, network_scene
from dnas.report.pareto import pareto
from dnas.report.runs import FEW, accuracy, searches, trainings
from dnas.report.scene import Scene
from dnas.report.spaces import list_charts, moves_table, space_charts
from dnas.report.table import Table
from dnas.report.tested import tested
from dnas.report.trained import epochs, recipe_table
from dnas.runs.run import NetworkFacts, Run

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
    """Pictures and tables under one heading; `layout` of pictures is `whole` (one a row) or `thirds`."""

    title: str
    about: str
    cards: tuple[Card, ...]
    tables: tuple[Table, ...] = ()
    layout: str = "thirds"
    folded: bool = False


def sections(runs: Sequence[Run]) -> list[Section]:
    """The sections that have any picture or table."""
    one = len(runs) == 1
    ended = [(run, run.network) for run in runs if run.network is not None]
    found, trained = searches(runs), trainings(runs)
    made = [
        Section(
            "The network" if one else "The networks",
            "From the image to the classes. A shape's height is its channels: in, inside, out. Its colour is the "
            "kernel; the dashed line marks squeeze-excite; e is the expansion, h the heads of attention, n×n the "
            "kernel or the window. Under the kind, the block's path in the search space. Below, the output map drawn "
            "to scale, or how many tokens there are.",
            tuple(_network(run, network, one) for run, network in ended), layout="whole", folded=len(ended) > FEW,
        ),
        Section(
            "Accuracy against cost", "What the budget bought, on images that chose nothing.",
            tuple(map(_card, [*pareto(runs), *tested(found)])),
        ),
        _made_smaller(runs),
        _chains(runs),
        _spaces(runs),
        Section(
            "The training" if len(trained) == 1 else "The trainings", _of(runs, trained, "Epoch by epoch"),
            tuple(map(_card, epochs(trained))), (recipe_table(trained),) if trained else (),
        ),
        Section(
            "The course of the search", _of(runs, found, "Every quantity over the steps"),
            tuple(map(_card, curves(found))),
        ),
        Section(
            "Where the budget goes", "The share of every block; bars of one colour share a scale.",
            tuple(_layers(run, network, one) for run, network in ended), layout="whole" if one else "thirds",
            folded=len(ended) > FEW,
        ),
        _choices(runs),
    ]  # fmt: skip
    return [section for section in made if section.cards or any(table.rows for table in section.tables)]


def _of(runs: Sequence[Run], shown: Sequence[Run], about: str) -> str:
    """What a section shows; and of which run, where it is of one among others."""
    return f"{about}, of {shown[0].name}." if len(shown) == 1 < len(runs) else f"{about}."


def _made_smaller(runs: Sequence[Run]) -> Section:
    """The steps that led to networks which were made smaller."""
    found = grown(runs)
    return Section(
        "How it became small" if len(runs) == 1 else "How networks became small",
        "The steps that led to the network, from the search or training that it began with.",
        tuple(map(_card, lineages(found))) if found else (), tuple(steps_table(run, len(runs) > 1) for run in found),
    )  # fmt: skip


def _chains(runs: Sequence[Run]) -> Section:
    """The chains, and the families that lie on them."""
    found = [run for run in searches(runs) if run.steps]
    several = len(runs) > 1
    tables = [family_table(run, several) for run in found if run.family]
    return Section(
        "The chain" if len(found) == 1 else "The chains",
        "From the largest network into the budget, action by action; each network lies in chain/ as a file.",
        tuple(map(_card, chains(found))), (*tables, *(actions_table(run, several) for run in found)),
    )  # fmt: skip


def _spaces(runs: Sequence[Run]) -> Section:
    """How the spaces of searches changed."""
    found = [run for run in searches(runs) if run.evolution is not None]
    charts = list_charts(found)
    return Section(
        "How the space evolved",
        "Each space by networks drawn from it: the E-T error is the mean of their errors and of their 50 lowest, "
        "halved. Below, at each choice of a list, with the line by which the list moved.",
        tuple(map(_card, [*space_charts(found), *charts])), tuple(moves_table(run, len(runs) > 1) for run in found),
        folded=len(charts) > OPEN_UP_TO,
    )  # fmt: skip


def _choices(runs: Sequence[Run]) -> Section:
    found = searches(runs)
    choices = choice_scenes(found)
    return Section(
        "How the choices were made",
        "Probability of every option over the steps, stacked: a band that fills the height is a decision. On the "
        "right the option taken." if choices else "The options that the network found has taken.",
        tuple(Card("", scene) for scene in choices),
        tuple(choices_table(run, len(runs) > 1) for run in found if run.taken), folded=len(choices) > OPEN_UP_TO,
    )  # fmt: skip


def notes(runs: Sequence[Run]) -> list[str]:
    """What the page cannot show, and why."""
    absent = missing(searches(runs))
    which = "this run" if len(runs) == 1 else "all of these runs"
    found = [f"Not recorded in the history of {which}: {', '.join(absent)}."] if absent else []
    bare = [run.name for run in runs if accuracy(run) is None and not run.unfinished]
    return found + ([f"No accuracy was recorded for {', '.join(bare)}."] if bare else [])


def scenes(made: Sequence[Section]) -> list[Scene]:
    """Every picture once, as for a wide screen."""
    return [card.scene for section in made for card in section.cards]


def _network(run: Run, network: NetworkFacts, one: bool) -> Card:
    key = f"network-{run.position}"
    tall = TALL if one else 0.6 * TALL
    wide = network_scene(run.name, network, 1164, key, tall)
    narrow = network_scene(run.name, network, 330, f"{key}-narrow", tall)
    return Card("" if one else f"{run.position + 1} {run.name}", wide, "", narrow)


def _layers(run: Run, network: NetworkFacts, one: bool) -> Card:
    key = f"layers-{run.position}"
    if not one:
        return Card(f"{run.position + 1} {run.name}", layers_scene(run.name, network, key=key))
    wide = layers_scene(run.name, network, 1164, key)
    return Card("", wide, "", layers_scene(run.name, network, 330, f"{key}-narrow"))


def _card(chart: Chart) -> Card:
    return Card(chart.title, draw(chart), chart.about)
