"""One line that answers "is it good?": the accuracy against chance, and against random networks where known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnas.report.runs import (
    Accuracy,
    Run,
    Search,
    Training,
    accuracy,
    data_name,
    inherited,
    kind,
    same_data,
    searches,
)  # fmt: skip

Level = Literal["good", "weak", "chance", "open"]
LEVELS: tuple[Level, ...] = ("good", "weak", "chance", "open")
WEAK = 0.25
"""Below this share of the way from chance to no mistake, a network has begun to learn and no more."""


@dataclass(frozen=True)
class Verdict:
    """The answer; `level` is its colour: told apart from chance clearly, barely, not at all, or nothing is known."""

    level: Level
    text: str


def verdict(run: Run) -> Verdict:
    """Of one run."""
    if run.unfinished:
        return Verdict("open", f"Not known yet: this run {run.unfinished}.")
    measured = accuracy(run)
    if measured is None:
        return Verdict("open", "Not known: no accuracy was recorded.")
    level = level_of(measured)
    more = [_against_chance(measured, level), *_against_others(run), *_trained(run)]
    return Verdict(level, " ".join(more))


def level_of(measured: Accuracy) -> Level:
    """Where an accuracy lies between chance and no mistake."""
    if measured.chance is None:
        return "open"
    if measured.at_chance:
        return "chance"
    return "weak" if measured.value - measured.chance < WEAK * (1 - measured.chance) else "good"


def overall(runs: Sequence[Run]) -> Verdict:
    """Of several: the best on each data set, and which are no better than chance or have not ended."""
    parts: list[str] = []
    levels: list[Level] = []
    alike = same_data([run for run in runs if accuracy(run) is not None])
    for data, some in alike.items():
        best = max(some, key=_value)
        measured = accuracy(best)
        assert measured is not None
        levels.append(level_of(measured))
        where = f" on {data}" if len(alike) > 1 else ""
        parts.append(f"Best{where}: {best.name} with {_words(measured)}.")
    parts += [_random_baseline(runs)]
    at_chance = [run.name for run in runs if (a := accuracy(run)) is not None and a.at_chance]
    parts += [f"No better than chance: {', '.join(at_chance)}."] if at_chance else []
    open_ = [run.name for run in runs if run.unfinished]
    parts += [f"Not ended: {', '.join(open_)}."] if open_ else []
    level: Level = min(levels, key=LEVELS.index) if levels else "open"
    return Verdict(level, " ".join(filter(None, parts)))


def _value(run: Run) -> float:
    measured = accuracy(run)
    return -1.0 if measured is None else measured.value


def _words(measured: Accuracy) -> str:
    images = f" on {measured.images:,} test images" if measured.images else f" ({measured.split})"
    chance = "" if measured.chance is None else f"; chance is {100 * measured.chance:.3g}%"
    return f"{measured.shown}{images}{chance}"


def _against_chance(measured: Accuracy, level: Level) -> str:
    said = _words(measured)
    match level:
        case "chance":
            return (
                f"No: {said}. This cannot be told from guessing: the costs are known, what the network can learn is "
                "not."
            )
        case "weak":
            return f"Hardly: {said}. It has begun to learn, and no more."
        case "good":
            return f"Above chance: {said}."
        case "open":
            return f"Not known: {said}; the number of classes is not recorded."


def _against_others(run: Run) -> list[str]:
    """Against the random networks that the run itself compared."""
    if not isinstance(run, Search):
        return []
    facts, drawn = run.facts, run.facts.random_networks
    if drawn is not None and facts.share_accuracy is not None:
        return [
            f"On the choices' share it has {facts.share_accuracy:.1%}; of {drawn.count} networks drawn at random within"
            f" the budgets the best has {drawn.best:.1%}, the median {drawn.median:.1%}."
        ]
    if facts.strategy == "random" and facts.compared:
        return [f"It is the best of {facts.compared} networks drawn at random within the budget."]
    if facts.strategy == "evolution" and facts.share_accuracy is not None:
        first = next((row for row in run.rows if row.compared and row.best is not None), None)
        if first is not None and first.best is not None:
            gained = 100 * (facts.share_accuracy - first.best)
            return [
                f"On the choices' share, the best of {first.compared} networks drawn at random had {first.best:.1%}, "
                f"evolution came to {facts.share_accuracy:.1%} ({gained:+.1f} points)."
            ]
    return ["No random networks were compared."]


def _trained(run: Run) -> list[str]:
    """Against what the network knew before it was trained."""
    if not isinstance(run, Training) or run.facts is None or run.facts.start != "inherited" or run.facts.found is None:
        return []
    before = inherited(run.facts.found.inherited_accuracy)
    if before is None:
        return []
    after = run.facts.accuracy.test
    change = "raised it from" if after >= before[1] else "ended below where it began: the search left"
    return [f"Training {change} {before[1]:.1%} ({before[0]}, inherited weights)."]


def _random_baseline(runs: Sequence[Run]) -> str:
    """The best search against the best random one of the same space, budgets and data."""
    told = []
    done = [run for run in searches(runs) if accuracy(run) is not None]
    for run in done:
        others = [r for r in done if r.facts.strategy == "random" and _problem(r) == _problem(run)]
        if run.facts.strategy == "random" or not others:
            continue
        mine, other = accuracy(run), accuracy(max(others, key=_value))
        assert mine is not None and other is not None
        gained = 100 * (mine.value - other.value)
        noise = 100 * ((mine.error or 0) ** 2 + (other.error or 0) ** 2) ** 0.5
        told.append(f"{run.name} ({kind(run)}) {gained:+.1f} ± {noise:.1f} points")
    return f"Against random search: {'; '.join(told)}." if told else ""


def _problem(run: Search) -> tuple:
    return run.facts.space, tuple(b.budget for b in run.facts.budgets), data_name(run), run.facts.data.sha256
