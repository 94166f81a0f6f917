"""A step of a whole space against a step of its largest network.

    python experiments/bench/largest.py --space efficientformerv2 --json

Every choice is mixed softly. Expected of efficientformerv2: 1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run


@dataclass(frozen=True)
class Arguments:
    """A search step against the plain largest network's."""

    space: str = "efficientformerv2"
    px: int = 64
    batch: int = 16
    rounds: int = 10
    """Rounds of interleaved turns; 0 for figures without times."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    with workers([Asked(name, args.px, args.batch) for name in (args.space, f"{args.space}:largest")]) as started:
        times = interleaved(started, args.rounds)
        whole, largest = (w.figures for w in started)
    found: dict[str, Any] = {"space": args.space, "px": args.px}
    found |= ratio("time_over_largest", times[:, 0], times[:, 1])
    return found | {f"{key}_over_largest": round(whole[key] / largest[key], 3) for key in ("flops", "bytes", "memory")}


if __name__ == "__main__":
    run(main, Arguments)
