"""What runs that differ by their seed alone are worth: costs and accuracies of each, their mean and their spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.files import read_document
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.runs.read import read_run
from dnas.runs.run import Search

MACS, PARAMS, VALIDATION, TEST = "macs", "params", "validation", "test"
DIGITS = 6


@dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    seed: int
    folder: str
    """In that of all."""
    figures: Mapping[str, float]
    """Costs and accuracies by name; those that every run has are compared."""
    network: str
    """Equal for equal networks."""


@dataclass(frozen=True)
class Spread:
    """Of one figure over the runs."""

    mean: float
    deviation: float | None
    """Standard deviation; None of a single run."""
    error: float | None
    """Standard error of the mean; None of a single run."""


def outcome(seed: int, out: Path, folder: str) -> Outcome:
    """Reads a run; raises `InputError` where a file is damaged.

    Of a search, `validation` is the accuracy on the training images that choose: of the network that won. A strategy
    that compares no networks measures none.
    """
    run, document = read_run(out / folder), read_document(out / folder / ARCHITECTURE).data
    costs = {name: float(document["costs"][name]) for name in (MACS, PARAMS)}
    if isinstance(run, Search):
        section, accuracies = document["search"], _of_search(run, document["search"])
    else:
        section = document["training"].get("found", {})
        accuracies = {name: document["training"]["accuracy"].get(name) for name in (VALIDATION, TEST)}
    times = {row["budget"]: float(row["cost"]) for row in section.get("budgets", ()) if "@" in row["budget"]}
    known = {name: float(value) for name, value in accuracies.items() if value is not None}
    network = repr([document[key] for key in ("input", "trunk", "head")])
    return Outcome(seed, folder, costs | times | known, network)


def _of_search(run: Search, section: Mapping[str, Any]) -> dict[str, float | None]:
    inherited = run.facts.inherited_accuracy
    race = section.get("race", {}).get("candidates", ())
    won = next((c["accuracy"][-1] for c in race if c["won"] and c["accuracy"]), None)
    chain = run.steps[-1].accuracy if run.steps else None
    validation = next((v for v in (run.facts.share_accuracy, won, chain) if v is not None), None)
    return {VALIDATION: validation, TEST: inherited.get("settled", inherited.get("derived"))}


def spreads(outcomes: Sequence[Outcome]) -> dict[str, Spread]:
    """Of every figure that all runs have, in the order of the first one's."""
    names = [name for name in outcomes[0].figures if all(name in o.figures for o in outcomes)]
    return {name: _spread([o.figures[name] for o in outcomes]) for name in names}


def _spread(values: Sequence[float]) -> Spread:
    mean = round(float(np.mean(values)), DIGITS)
    if len(values) == 1:
        return Spread(mean, None, None)
    deviation = float(np.std(values, ddof=1))
    return Spread(mean, round(deviation, DIGITS), round(deviation / math.sqrt(len(values)), DIGITS))


def best(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one to take: best by validation, the smallest seed of equal ones; test images choose nothing. None where one
    of them has no validation accuracy."""
    if not all(VALIDATION in o.figures for o in outcomes):
        return None
    return max(outcomes, key=lambda o: (o.figures[VALIDATION], -o.seed))
