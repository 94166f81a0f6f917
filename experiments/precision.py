"""Do searches in bfloat16 find what those in float32 find?

    python experiments/precision.py            # half an hour on one core

Tasks with a known answer (`tests/search/planted.py`) and the space `tiny` on the Fashion-MNIST extract, the same seeds
in either precision. Expected: no task is lost, and accuracies differ by no more than those of seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnas.cli.entry import run
from dnas.files import write_atomic
from dnas.process.backend import configure
from dnas.process.precision import BYTES, Precision

PRECISIONS: tuple[Precision, ...] = tuple(BYTES)
LOSSES = 5
"""Parts of a run whose mean losses are shown."""


@dataclass(frozen=True)
class Arguments:
    """Searches in float32 and in bfloat16, side by side."""

    seeds: int = 5
    epochs: float = 4.0
    """Of `tiny`."""
    out: Path = Path("experiments/results/precision.md")


def main(args: Arguments) -> None:
    configure()
    lines = ["Seeds in which the right option was found, of tasks with a known answer.", "", _row("task", *PRECISIONS)]
    lines.append("|---" * (1 + len(PRECISIONS)) + "|")
    for name, found in planted(args.seeds).items():
        lines.append(_row(name, *(f"{right} of {args.seeds}" for right in found)))
        print(lines[-1], flush=True)
    parts = [f"loss, part {n + 1}" for n in range(LOSSES)]
    lines += ["", "`tiny` on the Fashion-MNIST extract: mean and standard deviation over seeds.", ""]
    lines += [_row("precision", *parts, "accuracy"), "|---" * (2 + LOSSES) + "|"]
    for precision in PRECISIONS:
        figures = np.array([tiny(seed, precision, args.epochs) for seed in range(args.seeds)])
        cells = [f"{m:.3f} +- {s:.3f}" for m, s in zip(figures.mean(0), figures.std(0), strict=True)]
        lines.append(_row(precision, *cells))
        print(lines[-1], flush=True)
    write_atomic(args.out, "\n".join(lines) + "\n")


def planted(seeds: int) -> dict[str, list[int]]:
    """By task: in how many seeds the right option was found, in each precision."""
    from tests.search.planted import TASKS, options_found

    found: dict[str, list[int]] = {}
    for name, task in TASKS.items():
        for precision in PRECISIONS:
            taken = options_found(replace(task, settings=replace(task.settings, precision=precision)), range(seeds))
            found.setdefault(name, []).append(sum(option in task.right for option in taken))
    return found


def tiny(seed: int, precision: Precision, epochs: float) -> list[float]:
    """Mean losses of the parts of one search, then the accuracy of the network found."""
    import dnas

    result: Any = dnas.run_search(
        "tiny", budgets="0.1MFLOPs", seed=seed, epochs=epochs, precision=precision, quiet=True
    )
    losses = [loss for loss in result.history["loss"] if loss is not None]
    return [*(float(np.mean(part)) for part in np.array_split(losses, LOSSES)), result.accuracy["settled"]]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    run(main, Arguments)
