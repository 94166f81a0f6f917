"""The last words on a training: whether it learned anything, what is delivered, what comes next."""

from __future__ import annotations

from pathlib import Path

from dnas.learning import chance
from dnas.learning.evaluator import Tally
from dnas.runs import following
from dnas.runs.as_trained import counted_at, told_apart
from dnas.space import units
from dnas.train.setup import Setup

ADVICE = "Train longer (--epochs), try another --lr, or check that images and labels belong together."


def level(setup: Setup) -> float:
    """The accuracy of guessing on the test images."""
    return chance.chance_level(setup.dataset.test_labels, setup.dataset.classes)


def warnings(setup: Setup, counts: Tally, began: float | None, later: float | None) -> list[str]:
    """Of an accuracy at chance, and of a training that ended no better than it began.

    Args:
        counts: on the test images.
        began: validation accuracy of the inherited weights before the first step; None for fresh ones.
        later: the best validation accuracy after an epoch; None before the first.
    """
    found = chance.warning(counts.accuracy, counts.images, level(setup), ADVICE)
    if began is not None and later is not None and later <= began:
        images = len(setup.validation_index)
        found.append(
            f"training did not improve on the weights it began with: validation {units.accuracy(began, images)} before "
            f"the first step, {units.accuracy(later, images)} at best after it; the weights it began with are kept. "
            "Try a smaller --lr, or --init scratch with more --epochs."
        )
    return found


def good(setup: Setup, counts: Tally, began: float | None, best: float) -> str:
    """One line that answers "is it good?"."""
    guessing = level(setup)
    answer = "no" if chance.at_chance(counts.accuracy, counts.images, guessing) else "better than chance"
    shown = f"{units.accuracy(counts.accuracy, counts.images)} of {counts.images:,} test images"
    since = "" if began is None else f"; validation went from {units.share(began)} to {units.share(best)}"
    return f"is it good? {answer}: {shown}, chance {units.share(guessing)}{since}"


def apart(setup: Setup) -> list[str]:
    """What budgets counted and what is delivered, where they differ."""
    return told_apart(counted_at(setup.source.space), counted_at(setup.network))


def following_commands(out: Path) -> list[following.Next]:
    """What can be done with a trained network."""
    return [
        (following.command("evaluate", out), "accuracy by class"),
        (following.command("predict", out, "IMAGE"), "classes of pictures of your own"),
        (following.command("export", out, "--to", "onnx"), "for other runtimes"),
        (following.command("report", out), "pictures of the training"),
    ]
