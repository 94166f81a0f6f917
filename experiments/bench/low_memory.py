"""The low-memory form of a step against the default: what it saves and what it costs.

    python experiments/bench/low_memory.py --json

`..._of_identical`: eight equal layers of four blocks; `..._of_fbnetv2`: FBNetV2's choices at one resolution. Memory is
how many times less, time how many times as long. Expected: at least 4 and 1.8 times less, at most 1.5 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run

SPACES = {"identical": "identical", "fbnetv2": "choices_and_skips"}


@dataclass(frozen=True)
class Arguments:
    """Low memory against the default."""

    px: int = 64
    batch: int = 16
    rounds: int = 8
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {"px": args.px, "batch": args.batch}
    for name, space in SPACES.items():
        with workers([Asked(form, args.px, args.batch) for form in (f"{space}:low_memory", space)]) as started:
            low, default = started
            times = interleaved(started, args.rounds)
        found |= ratio(f"time_of_{name}", times[:, 0], times[:, 1])
        found[f"memory_of_{name}"] = round(default.figures["memory"] / low.figures["memory"], 2)
        found[f"flops_of_{name}"] = round(low.figures["flops"] / default.figures["flops"], 3)
    return found


if __name__ == "__main__":
    run(main, Arguments)
