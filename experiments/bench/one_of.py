"""Choices between whole blocks: one sampled block a layer against all of them mixed (FBNetV1's nine blocks a layer).

    python experiments/bench/one_of.py --json

The space is FBNetV1's, 22 layers (`--no-whole`: one a stage). `time_of_soft` is how many times as long a step takes
that mixes all blocks. Expected: at least 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run

TURN_S = 1.0
"""Which blocks are drawn makes steps differ: a turn has many."""


@dataclass(frozen=True)
class Arguments:
    """Sampled against soft choices between whole blocks."""

    px: int = 64
    batch: int = 16
    whole: bool = True
    """All 22 layers."""
    rounds: int = 8
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {"px": args.px, "whole": args.whole}
    space = "all_blocks" if args.whole else "blocks"
    names = (space, f"{space}:sampled")
    with workers([Asked(name, args.px, args.batch, turn_s=TURN_S) for name in names]) as started:
        soft, sampled = started
        times = interleaved(started, args.rounds)
    found |= ratio("time_of_soft", times[:, 0], times[:, 1])
    found |= {f"{key}_of_soft": round(soft.figures[key] / sampled.figures[key], 2) for key in ("memory", "compile_s")}
    return found


if __name__ == "__main__":
    run(main, Arguments)
