"""What searches at the full size of images need on TPUs that are not here: a table made by `python -m dnas.plan`.

    python experiments/plans.py            # needs dnas[tpu]; some hours on one core, most of it in the TPU's compiler

Each step is compiled at `--batch` images and at half of them, then at the largest batch that this finds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.cli.entry import run
from dnas.files import write_atomic
from dnas.process.memory_amounts import memory_shown
from dnas.space import units

COLUMNS = (
    "space", "target", "images of a step", "memory of a device", "of", "FLOPs", "in matrix units", "bytes of a device",
    "collectives", "at least", "limit",
)  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Plans searches for topologies of TPUs."""

    spaces: tuple[str, ...] = ("fbnetv2", "efficientformerv2", "autoformer_small")
    targets: tuple[str, ...] = ("v5e:2x2", "v6e:2x2")
    batch: int = 128
    again: bool = True
    """Do not compile the batch that was found."""
    out: Path = Path("experiments/results/plans.md")


def main(args: Arguments) -> None:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for space in args.spaces:
        for target in args.targets:
            found = planned(space, target, args.batch)
            largest = found["largest_batch"]["images"]
            if args.again and largest:
                found = planned(space, target, largest, "--no-largest")
            lines.append(row(found))
            print(lines[-1], flush=True)
            write_atomic(args.out, "\n".join(lines) + "\n")


def planned(space: str, target: str, batch: int, *more: str) -> dict[str, Any]:
    """What the command says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.json"
        options = ["--target", target, "--batch-size", str(batch), "--json", str(file), *more]
        subprocess.run([sys.executable, "-m", "dnas.plan", space, *options], check=True)
        return json.loads(file.read_text())


def row(found: dict[str, Any]) -> str:
    """Of the table."""
    least = found["seconds_at_least"]
    limit = max(least, key=lambda name: least[name])
    parts = [program["collectives"] for program in found["programs"].values()]
    counts = sum(map(Counter, filter(None, parts)), Counter())
    sent = "not known" if None in parts else ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    cells = (
        found["space"], found["target"], f"{found['batch_size']:,}", memory_shown(found["memory"]),
        memory_shown(found["memory_of_device"]), units.counted(found["flops"]), units.share(found["matrix_share"]),
        memory_shown(int(found["bytes"])), sent,
        units.timed(1e3 * least[limit]), limit,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    run(main, Arguments)
