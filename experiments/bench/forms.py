"""What each form of the CPU wing buys: a step without it over the step with all of them.

    python experiments/bench/forms.py --json

Contenders are programs of one process that take turns, so that they share whatever the machine is doing; a ratio is the
median over the rounds of the ratio within a round, of processor time, which other processes disturb the least. `start`
is the processor time until the first steps are taken: traces and compiling.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import contenders
import numpy as np
from rounds import ratio, told

from dnas.cli.entry import run
from dnas.nn.wing import Wing, wing
from dnas.process.backend import configure


@dataclass(frozen=True)
class Arguments:
    """Ratios of processor time, a form of the CPU wing left out at a time."""

    space: str = "fbnetv2"
    px: int = 64
    """Side of the images."""
    batch: int = 16
    paths: int = 2
    """Blocks of a choice between blocks, and resolutions, that a step runs; 0 for all."""
    rounds: int = 15
    steps: int = 3
    """Of a turn."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(args: Arguments) -> None:
    configure()
    told(measured(args), args.json)


def measured(args: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = {"space": args.space, "px": args.px, "batch": args.batch, "paths": args.paths}
    made = {}
    for name, offer in offers(wing()).items():
        began = time.process_time()
        made[name] = _contender(args, offer)
        found[f"start_s_{name}"] = round(time.process_time() - began, 2)
    times = {name: np.zeros(args.rounds) for name in made}
    for n in range(args.rounds):
        for name in list(made) if n % 2 else reversed(list(made)):
            began = time.process_time()
            made[name].steps(args.steps)
            times[name][n] = (time.process_time() - began) / args.steps
    for name in list(times)[1:]:
        found |= ratio(f"time_{name}", times[name], times["whole"])
    return found | {"step_ms": round(float(np.median(times["whole"])) * 1e3, 2)}


def offers(whole: Wing) -> Mapping[str, Wing]:
    """All of it, each form left out, and all left out; compiler's options and the heap stay as they are."""
    found = {"whole": whole}
    for form in whole.forms:
        rest = {name: other for name, other in whole.forms.items() if name != form}
        found[f"without_{form}"] = whole._replace(forms=rest)
    return found | {"without_rows": whole._replace(rows=None), "plain": whole._replace(forms={}, rows=None)}


def _contender(args: Arguments, offer: Wing) -> contenders.Contender:
    from dnas.grammar.catalogue import load_space
    from dnas.search import descent, learn

    learn.wing = descent.wing = lambda: offer  # asked for while programs are traced
    space = load_space(args.space)
    return contenders.search(space, args.px, args.batch, paths=args.paths, resolution_paths=args.paths)


if __name__ == "__main__":
    run(main, Arguments)
