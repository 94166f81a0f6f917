"""The latency tables that ship with dnas, measured on the machine at hand.

    python experiments/tables_here.py          # about a quarter of an hour on a quiet machine

Each table is one run of `python -m dnas.measure SPACE`; a stopped one goes on, and a table that exists stays. Expected:
no block's passes still differ by more than 10 %, interpolation of fbnetv2's blocks off by less than 10 % (median).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dnas.cli.entry import run
from dnas.cli.measure import progress_bar
from dnas.errors import UserError
from dnas.measure.measurement import partial_path
from dnas.measure.run import measure


@dataclass(frozen=True)
class Arguments:
    """Measures the tables of several spaces on this machine."""

    spaces: tuple[str, ...] = (
        "fbnetv1_32", "fbnetv1", "fbnetv2", "fbnetv2_free", "efficientformer", "efficientformerv2",
    )  # fmt: skip
    name: str = "cpu_2core_ort"
    """Tables are called NAME_SPACE."""
    minutes: float = 30
    """The longest that one space may take."""
    folder: Path = Path("lut")
    busy: float = 1.5
    """Load average from which measuring is refused: other programs would be measured too."""


def main(args: Arguments) -> None:
    for space in args.spaces:
        out = args.folder / f"{args.name}_{space}.json"
        if out.exists():
            print(f"{out}: exists, left as it is")
            continue
        load = os.getloadavg()[0]
        if load > args.busy:
            raise UserError(f"load average {load:.1f}: other programs are running; wait, or raise --busy")
        resume = partial_path(out).exists()
        measure(space, "onnxruntime", out=out, minutes=args.minutes, resume=resume, progress=progress_bar)


if __name__ == "__main__":
    run(main, Arguments)
