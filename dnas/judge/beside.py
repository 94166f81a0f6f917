"""What stands beside the accuracy of a run's network: every other accuracy known, and the best at each cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dnas.judge.facts import accuracy
from dnas.runs.candidates import Candidate
from dnas.runs.run import Run, Search, Training

SHARE = "the choices' share"
"""Of the training images: what networks were compared on."""


class Known(NamedTuple):
    """An accuracy, `on` which images, and of how many where that is known."""

    name: str
    value: float
    images: int | None
    on: str
    more: str


def known(run: Run, found: Sequence[Candidate]) -> Iterator[Known]:
    """The network's own first; `found` are the candidates of the run."""
    value = accuracy(run)
    if value is not None:
        yield Known(f"this network, {value.name}", value.value, value.images, "test images", value.split)
    if isinstance(run, Search):
        facts, own = run.facts, "" if value is None else value.name
        for stage, earlier in facts.inherited_accuracy.items():
            if stage != own and not stage.endswith("_before"):
                yield Known(stage, earlier, value and value.images, "test images", "before it settled")
        for one in found:
            if one.origin not in ("chain", "family") and one.costs:
                yield Known(one.name, one.accuracy, one.images, SHARE, "in the race")
        ranked, drawn = facts.race.images if facts.race else facts.settings.get("rank_images"), facts.random_networks
        if facts.share_accuracy is not None:
            yield Known("best compared", facts.share_accuracy, ranked, SHARE, f"of {facts.compared}")
        for word, of in () if drawn is None else (("best", drawn.best), ("median", drawn.median)):
            yield Known(
                f"{word} of {drawn.count if drawn else 0} drawn", of, ranked, SHARE, "evenly, within the budgets"
            )
    if isinstance(run, Training) and run.facts is not None:
        trained = run.facts
        yield Known("validation", trained.accuracy.validation, trained.images.validation, "validation images", "")
        for stage, earlier in (trained.found.inherited_accuracy if trained.found else {}).items():
            if not stage.endswith("_before"):
                yield Known(f"{stage}, as searched", earlier, None, "test images", "inherited weights")


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: cost (less is better) and accuracy (more is better), by cost."""
    best: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best
