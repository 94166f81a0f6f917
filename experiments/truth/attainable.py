"""The regret of a search that would train every network within the budget from scratch, once, and take the best.

    python experiments/truth/attainable.py

A second training of a network gives another accuracy, so that even such a search does not find the table's best. Its
accuracies are drawn around the table's means, with the spread that trainings of one network have there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench import known_of, limit_of
from figures import Truth
from part import PARTS

from dnas.cli.entry import run
from dnas.process.tables import markdown

SEARCHES = 20_000
"""Drawn for each budget."""


@dataclass(frozen=True)
class Arguments:
    """Regrets of a search that trains every network once."""

    of: int = 8
    """Searches of which the worst is told."""


def main(args: Arguments) -> None:
    rows = []
    for part in PARTS.values():
        known = known_of(part)
        one = known.noise * part.seeds**0.5
        for budget in part.budgets:
            limit = limit_of(budget)
            found = regrets(known.truth, limit, one) / known.truth.spread(limit)
            worst = found[: len(found) // args.of * args.of].reshape(-1, args.of).max(1)
            rows.append((f"{part.name}, {budget}", f"{found.mean():.2f}", f"{worst.mean():.2f}"))
    columns = ("searched", "regret, sd of the band: mean", f"worst of {args.of}, in the mean")
    print("\n".join(markdown(columns, rows)))


def regrets(truth: Truth, limit: float, noise: float) -> np.ndarray:
    """Of `SEARCHES` searches that measure every network within the limit with normal errors of this deviation."""
    accuracy = truth.accuracy[truth.within(limit)]
    measured = accuracy + np.random.default_rng(0).normal(0, noise, (SEARCHES, len(accuracy)))
    return accuracy.max() - accuracy[measured.argmax(1)]


if __name__ == "__main__":
    run(main, Arguments)
