"""The last words on a search: how much of each budget is used and why not more, whether the network is any good, and
what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnas.learning import chance
from dnas.runs import following
from dnas.search.assess import counted_images
from dnas.search.problem import Problem
from dnas.search.settings import AIM
from dnas.space import units

if TYPE_CHECKING:
    from dnas.search.found import Found
    from dnas.search.strategy import Outcome

ADVICE = "Search longer (--epochs), check that images and labels belong together, or take a space that fits the data."


def unused_because(problem: Problem, outcome: Outcome, n: int) -> str:
    """Why no more of budget `n` is used; empty where `AIM` of it is."""
    shares = [c / m.budget.limit for c, m in zip(outcome.costs, problem.measured, strict=True)]
    here, fill = problem.measured[n], problem.settings.fill
    if shares[n] >= AIM:
        return ""
    if here.largest <= here.budget.limit:
        return f"the largest network of the space has {here.budget.shown(here.largest)}"
    if max(shares) >= AIM:
        tightest = problem.measured[int(np.argmax(shares))].budget.text
        return f"{tightest} leaves no room for more"
    if fill is not None and shares[n] >= fill:
        return f"--fill {fill:g} asks for no more"
    noted = outcome.derivation.note if outcome.derivation is not None else ""
    return noted or outcome.unused or "the search found no better network that uses more"


def used(problem: Problem, outcome: Outcome) -> str:
    """One line: the share of each budget, and why no more."""
    parts = []
    for n, (m, cost) in enumerate(zip(problem.measured, outcome.costs, strict=True)):
        reason = unused_because(problem, outcome, n)
        parts.append(f"{units.share(cost / m.budget.limit)} of {m.budget.text}" + (f" ({reason})" if reason else ""))
    return f"used: {'; '.join(parts)}" if parts else ""


def last_accuracy(outcome: Outcome) -> float:
    """Of the network found, with the weights that are written."""
    return outcome.accuracies["settled" if "settled" in outcome.accuracies else "derived"]


def level(problem: Problem) -> float:
    """The accuracy of guessing on the test images behind the outcome's accuracies."""
    return chance.chance_level(problem.dataset.test_labels[counted_images(problem)], problem.dataset.classes)


def warnings(problem: Problem, outcome: Outcome) -> list[str]:
    """Those of the strategy, and of an accuracy at chance."""
    at_chance = chance.warning(last_accuracy(outcome), outcome.images, level(problem), ADVICE)
    return [*outcome.warnings, *at_chance]


def good(found: Found) -> str:
    """One line that answers "is it good?": against chance, and against random networks where some were compared."""
    problem, outcome = found.problem, found.outcome
    accuracy, guessing = last_accuracy(outcome), level(problem)
    answer = "no" if chance.at_chance(accuracy, outcome.images, guessing) else "better than chance"
    shown = (
        f"{units.accuracy(accuracy, outcome.images)} of {outcome.images:,} test images, chance {units.share(guessing)}"
    )
    return f"is it good? {answer}: {shown}; {_against_random(outcome.summary)}"


def _against_random(summary: dict[str, Any]) -> str:
    drawn = summary.get("random_networks")
    if not drawn:
        return "not compared with random networks (a search with --strategy random does)"
    mine, best, median = summary["share_accuracy"], drawn["best"], drawn["median"]
    among = f"{drawn['count']} random networks within the budgets"
    their = f"their median {units.share(median)}, on the choices' share of the training images"
    if mine > best:
        return f"{units.share(mine)} against {units.share(best)}, the best of {among}; {their}"
    return f"the best of {among} has {units.share(best)}, the one found {units.share(mine)}; {their}"


def random_networks(accuracies: list[float]) -> dict[str, Any]:
    """What is recorded of networks drawn evenly within the budgets and compared on the choices' share."""
    return {
        "count": len(accuracies), "median": round(float(np.median(accuracies)), 6), "best": round(max(accuracies), 6),
    }  # fmt: skip


def following_commands(out: Path | None) -> list[following.Next]:
    """What can be done with a result folder."""
    if out is None:
        return []
    return [
        (following.command("train", out), "trains it on; the weights of a search are a beginning"),
        (following.command("evaluate", out), "accuracy by class"),
        (following.command("export", out, "--to", "onnx"), "for other runtimes"),
        (following.command("report", out), "pictures of the search"),
    ]
