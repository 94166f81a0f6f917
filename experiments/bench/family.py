"""A search for a family of eight budgets against a search for one, with equal batches: time and memory of a step.

    python experiments/bench/family.py --json

`..._of_fashion`: that space at its own 28 px; `..._of_fbnetv2`: FBNetV2's choices at one resolution. Numbers are how
many times as much; eight searches one by one are 8. Expected: at most 1.5. A family's members are a loop, whose body
the compiler counts once, so memory is what it says and FLOPs are those of one member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run

SPACES = {"fashion": ("fashion", 28), "fbnetv2": ("choices_and_skips", 64)}
MEMBERS = 8


@dataclass(frozen=True)
class Arguments:
    """A family against one search."""

    batch: int = 64
    rounds: int = 8
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {"members": MEMBERS, "batch": args.batch}
    for name, (space, px) in SPACES.items():
        with workers([Asked(form, px, args.batch) for form in (f"{space}:family", space)]) as started:
            family, single = started
            times = interleaved(started, args.rounds)
        found |= ratio(f"time_of_{name}", times[:, 0], times[:, 1])
        found[f"memory_of_{name}"] = round(family.figures["memory"] / single.figures["memory"], 2)
    return found


if __name__ == "__main__":
    run(main, Arguments)
