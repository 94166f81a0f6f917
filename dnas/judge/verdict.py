"""One line that answers "is it good?": the accuracy against chance, and against random networks where known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnas.judge import amounts
from dnas.judge.facts import Accuracy, accuracy, data_name, inherited, same_data, searches
from dnas.runs.records import Race
from dnas.runs.run import Run, Search, Training
from dnas.runs.seeds import Several, several_among

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
    """Of several: the best on each data set, what searching gains, and how many are at chance or have not ended."""
    parts = list(map(over_seeds, several_among([run.folder for run in runs]).values()))
    levels: list[Level] = []
    known = [run for run in runs if accuracy(run) is not None]
    alike = same_data(known)
    for data, some in alike.items():
        best = max(some, key=_value)
        measured = accuracy(best)
        assert measured is not None
        levels.append(level_of(measured))
        where = f" on {data}" if len(alike) > 1 else ""
        parts.append(f"Best{where}: {_called(best)} with {_words(measured)}.")
    parts += [_random_baseline(runs)]
    guessing = sum(a.at_chance for run in known if (a := accuracy(run)) is not None)
    verb = "is" if guessing == 1 else "are"
    parts += [f"{guessing} of {len(known)} {verb} no better than chance: marked below."] if guessing else []
    going = sum(bool(run.unfinished) for run in runs)
    parts += [f"{going} of {len(runs)} ha{'s' if going == 1 else 've'} not ended."] if going else []
    level: Level = min(levels, key=LEVELS.index) if levels else "open"
    return Verdict(level, " ".join(filter(None, parts)))


def over_seeds(found: Several) -> str:
    """What runs that differ by their seed alone are worth together."""
    told = [
        f"{name} {found.mean[name]:.1%}" + ("" if spread is None else f" ± {100 * spread:.1f}")
        for name, spread in found.standard_deviation.items() if not amounts.is_cost(name)
    ]  # fmt: skip
    said = f"{found.name} with {len(found.runs)} seeds: mean accuracy and standard deviation {', '.join(told)}"
    said += f"; {found.different_networks} different networks" * (found.different_networks > 1)
    return f"{said}." if found.take is None else f"{said}. Take seed {found.take.seed}: the best by {found.take.by}."


def _called(run: Run) -> str:
    """As the table calls it."""
    return f"{run.position + 1} {run.name}"


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
    if facts.race is not None:
        return [_raced(facts.race)]
    return ["No random networks were compared."]


def _raced(race: Race) -> str:
    """What the race for the network found says: against networks drawn, against a published one that was scaled."""
    raced = [one for one in race.candidates if one.accuracy]  # none, where a candidate was alone
    best = {one.origin: one.accuracy[-1] for one in sorted(raced, key=lambda one: one.accuracy[-1])}
    won = next((one for one in raced if one.won), None)
    others = {name: value for name, value in best.items() if name == "drawn" or name.endswith(", scaled")}
    if won is None or not others:
        return race.pays
    told = ", ".join(f"{'the best network drawn' if name == 'drawn' else name} {v:.1%}" for name, v in others.items())
    pays = f" {race.pays[:1].upper()}{race.pays[1:]}." if race.pays else ""
    where = f"In its race, which the loss on {race.images:,} images of the choices' share decided"
    return f"{where}, it had {won.accuracy[-1]:.1%}; {told}.{pays}"


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
    """The best search that has a random one of its space, budgets and data beside it, against the best of those."""
    done = [run for run in searches(runs) if accuracy(run) is not None]
    drawn = [run for run in done if run.facts.strategy == "random"]
    searched = [run for run in done if run not in drawn and any(_problem(r) == _problem(run) for r in drawn)]
    if not searched:
        return ""
    best = max(searched, key=_value)
    other = max((run for run in drawn if _problem(run) == _problem(best)), key=_value)
    mine, theirs = accuracy(best), accuracy(other)
    assert mine is not None and theirs is not None
    gained = 100 * (mine.value - theirs.value)
    noise = 100 * ((mine.error or 0) ** 2 + (theirs.error or 0) ** 2) ** 0.5
    gain = f"{gained:+.1f} ± {noise:.1f} points"
    return f"Of the searches, {_called(best)} has {gain} against random search, {_called(other)}."


def _problem(run: Search) -> tuple:
    return run.facts.space, tuple(b.budget for b in run.facts.budgets), data_name(run), run.facts.data.sha256
