"""What share of the machine's arithmetic a step uses: its FLOPs over its time, over those of a large matrix product.

    python experiments/bench/gemm.py --px 64 --json

`share_by_compiler` counts the compiler's FLOPs, elementwise ones included. `share_by_macs` counts what the largest
network needs, forward and twice that backward, two FLOPs a multiply-add: the same for every implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rounds import Asked, interleaved, ratio, told, workers

from dnas.cli.entry import run


@dataclass(frozen=True)
class Arguments:
    """Share of the measured peak of matrix products."""

    px: int = 64
    batch: int = 16
    rounds: int = 10
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    with workers([Asked(name, args.px, args.batch) for name in ("matmul", "plain", "choices")]) as started:
        times = interleaved(started, args.rounds)
        product, *networks = (w.figures for w in started)
    found: dict[str, Any] = {"px": args.px}
    if args.rounds:
        found["peak_gflops"] = round(float(np.median(product["flops"] / times[:, 0])) / 1e9, 1)
    for n, figures in enumerate(networks, 1):
        name = started[n].asked.name
        needed = 6 * figures["macs"] * args.batch
        for key, flops in (("share_by_compiler", figures["flops"]), ("share_by_macs", needed)):
            rates = flops / times[:, n], product["flops"] / times[:, 0]
            found |= ratio(f"{key}_{name}", *rates)
    return found


if __name__ == "__main__":
    run(main, Arguments)
