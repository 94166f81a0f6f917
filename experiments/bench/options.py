"""What more options cost, and what masks save against a separate path for each combination.

    python experiments/bench/options.py --json

* `*_of_twelve_options`: a network whose widths and expansions have twelve options each over the same network with one
  (its largest): FLOPs, bytes, temporary memory. Expected: 1.000 to 1.005.
* `*_of_separate_pairs`: one layer with a block for each of six expansions times six widths over the same layer with
  masks: time, FLOPs, memory of a whole step, stem and head included. Expected: at least 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run

FIGURES = ("flops", "bytes", "memory")


@dataclass(frozen=True)
class Arguments:
    """The price of options, and of separate paths."""

    px: int = 64
    batch: int = 16
    rounds: int = 8
    """Rounds of interleaved turns; 0 for figures without times."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    names = ("one_option", "twelve_options", "masked_pairs", "separate_pairs")
    with workers([Asked(name, args.px, args.batch) for name in names]) as started:
        one, twelve, masked, separate = started
        times = interleaved([masked, separate], args.rounds)
    found: dict[str, Any] = {
        f"{key}_of_twelve_options": round(twelve.figures[key] / one.figures[key], 5) for key in FIGURES
    }
    found |= ratio("time_of_separate_pairs", times[:, 1], times[:, 0])
    return found | {
        f"{key}_of_separate_pairs": round(separate.figures[key] / masked.figures[key], 2) for key in FIGURES
    }


if __name__ == "__main__":
    run(main, Arguments)
