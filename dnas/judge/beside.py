"""What stands beside an accuracy: those that are known of a run, a comparison, several seeds; the best at each cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dnas.judge import amounts
from dnas.judge.facts import accuracy
from dnas.runs.candidates import CHAIN, EVOLVED, FAMILY, SAMPLED, Candidate, error
from dnas.runs.comparison import Compared
from dnas.runs.run import Run, Search, Training
from dnas.runs.seeds import Several

SHARE = "the choices' share"
"""Of the training images: what networks were compared on."""


ORIGINS = {"found": "found", "drawn": "drawn at its cost", "scaled": "published, scaled", "against": "others"}


class Known(NamedTuple):
    """An accuracy with its error (0 where that is not known), and what it is `on`: those of one kind compare."""

    name: str
    value: float
    error: float
    on: str
    more: str = ""


def known(run: Run, found: Sequence[Candidate]) -> Iterator[Known]:
    """The network's own first; `found` are the candidates of the run."""
    value = accuracy(run)
    if value is not None:
        yield Known(f"this network, {value.name}", value.value, value.error or 0, "test images", value.split)
    if isinstance(run, Search):
        facts, own = run.facts, "" if value is None else value.name
        for stage, earlier in facts.inherited_accuracy.items():
            if stage != own and not stage.endswith("_before"):
                yield Known(stage, earlier, error(earlier, value and value.images), "test images", "before it settled")
        for one in found:
            if one.origin not in (CHAIN, FAMILY, SAMPLED, EVOLVED) and one.costs:
                yield Known(one.name, one.accuracy, one.error, SHARE, "in the race")
        ranked, drawn = facts.race.images if facts.race else facts.settings.get("rank_images"), facts.random_networks
        if facts.share_accuracy is not None:
            own = facts.compared is None  # a member of a family
            name, more = ("this network", "") if own else ("best compared", f"of {facts.compared}")
            yield Known(name, facts.share_accuracy, error(facts.share_accuracy, ranked), SHARE, more)
        for word, of in () if drawn is None else (("best", drawn.best), ("median", drawn.median)):
            name = f"{word} of {drawn.count if drawn else 0} drawn"
            yield Known(name, of, error(of, ranked), SHARE, "evenly, within the budgets")
    if isinstance(run, Training) and run.facts is not None:
        trained = run.facts
        value, images = trained.accuracy.validation, trained.images.validation
        yield Known("validation", value, error(value, images), "validation images")
        for stage, earlier in (trained.found.inherited_accuracy if trained.found else {}).items():
            if not stage.endswith("_before"):
                yield Known(f"{stage}, as searched", earlier, 0, "test images", "inherited weights")


def compared(found: Compared) -> Iterator[Known]:
    """The networks of a comparison, the best first."""
    for e in sorted(found.networks, key=lambda e: -e.accuracy.mean):
        more = f"{e.accuracy.shown}, {amounts.shown('MACs', e.macs)}, {e.image_size} px"
        yield Known(e.name, e.accuracy.mean, e.accuracy.standard_error, ORIGINS[e.origin], more)


def seeds(found: Several) -> Iterator[Known]:
    """The means over seeds with their standard deviations, then every seed's own."""
    names = [name for name in found.mean if not amounts.is_cost(name)]
    yield from (Known("mean", found.mean[name], found.standard_deviation[name] or 0, name) for name in names)
    yield from (Known(f"seed {run.seed}", run.figures[name], 0, name) for run in found.runs for name in names)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: cost (less is better) and accuracy (more is better), by cost."""
    best: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best
