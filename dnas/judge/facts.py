"""What a report says of a run: its kind, data, accuracy and chance, and how it is called in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnas.learning.chance import at_chance
from dnas.runs.inherited import images_of, inherited
from dnas.runs.run import Imported, Run, Search, Training
from dnas.space.units import standard_error

FEW = 8
"""Up to so many runs are named in pictures, more are numbered."""


@dataclass(frozen=True)
class Accuracy:
    """A measured accuracy; `chance` is what a constant answer gets, where the number of classes is known."""

    name: str
    value: float
    split: str
    images: int | None
    chance: float | None

    @property
    def error(self) -> float | None:
        """Standard error, where the number of images is known."""
        return standard_error(self.value, self.images) if self.images else None

    @property
    def at_chance(self) -> bool:
        """Whether it cannot be told from chance, where that and the number of images are known."""
        if self.chance is None:
            return False
        return at_chance(self.value, self.images, self.chance) if self.images else self.value <= self.chance

    @property
    def shown(self) -> str:
        """`87.9% ± 1.0`, with the standard error."""
        return f"{self.value:.1%}" + ("" if self.error is None else f" ± {100 * self.error:.1f}")


def searches(runs: Sequence[Run]) -> list[Search]:
    """Those that are searches."""
    return [run for run in runs if isinstance(run, Search)]


def trainings(runs: Sequence[Run]) -> list[Training]:
    """Those that are trainings."""
    return [run for run in runs if isinstance(run, Training)]


def kind(run: Run) -> str:
    """What made the run: a strategy, or training with a recipe."""
    match run:
        case Search():
            name = "search" if run.facts.strategy == "not stated" else run.facts.strategy
            return f"{name}, family of {len(run.family)}" if run.family else name
        case Training(facts=facts):
            recipe = "" if facts is None else facts.recipe.get("name", "")
            return f"training, {recipe}" if recipe else "training"
        case Imported(facts=facts):
            return f"imported weights of {facts.names}"
    raise TypeError(type(run))


def data_name(run: Run) -> str:
    """Of the data that a run learned from, as it is told."""
    return run.facts.data.name if isinstance(run, Search | Training) and run.facts is not None else "not stated"


def same_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by the data that they were measured on: accuracies of others are no comparison."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(data_name(run), []).append(run)
    return found


def chance(run: Run) -> float | None:
    """The accuracy of a constant answer: the most frequent class's share where it is recorded, else 1/classes."""
    facts = run.facts if isinstance(run, Search | Training) else None
    if facts is not None and facts.chance is not None:
        return facts.chance
    return None if run.network is None else 1 / run.network.classes


def accuracy(run: Run) -> Accuracy | None:
    """The last accuracy that was measured of the run's network, on test images."""
    match run:
        case Search(facts=facts):
            after = inherited(facts.inherited_accuracy)
            if after is None:
                return None
            return Accuracy(*after, facts.accuracy_split, images_of(facts.accuracy_split), chance(run))
        case Training(facts=facts) if facts is not None:
            images = facts.images.test or None
            return Accuracy("trained", facts.accuracy.test, f"test, {images or 'some'} images", images, chance(run))
    return None


def tag(run: Run, count: int) -> str:
    """The run's short name in pictures of `count` runs: its number in the table, with its name where there is room."""
    return f"{run.position + 1}" if count > FEW else f"{run.position + 1} {run.name}"


def chance_lines(runs: Sequence[Run]) -> tuple[tuple[float, str], ...]:
    """The chance levels of the runs, as reference lines of a chart."""
    levels = sorted({level for run in runs if (level := chance(run)) is not None})
    return tuple((level, f"chance {100 * level:.3g}%") for level in levels)


def option_text(value: object) -> str:
    """An option, or any other value of a file, for people."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def taken_text(run: Search, choice: str) -> str:
    """The option taken; `not used` where the network does not depend on the choice, empty where nothing says."""
    if choice in run.unused:
        return "not used"
    return option_text(run.taken[choice]) if choice in run.taken else ""
