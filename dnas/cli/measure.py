"""A latency table of a space's blocks, measured on this machine.

python -m dnas.measure fbnetv2 --out my_table.json
python -m dnas.measure tiny --runtime xla --minutes 5
python -m dnas.search fbnetv2 --budget 2ms@my_table.json
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnas.errors import InputError
from dnas.process.progress import beside, progress


@dataclass(frozen=True)
class Arguments:
    """Times every distinct block of a space (or of an architecture) on this machine and writes a latency table.

    Where there are more blocks than --minutes allows, a plan of corners and middles is measured and the rest is
    interpolated; the plan is printed with its duration first. A stopped measurement goes on with --resume.
    """

    space: Annotated[str, tyro.conf.Positional]
    """Name of a space or published architecture (see dnas.spaces), or path to a .yaml or .json file."""
    runtime: Literal["onnxruntime", "litert", "xla"] = "onnxruntime"
    """onnxruntime on the CPU, LiteRT on the CPU where its converter is installed, or XLA on jax's present device."""
    out: Path | None = None
    """Table to write; SPACE_RUNTIME.json in this folder if not given."""
    minutes: float = 30
    """The longest that measuring may take."""
    threads: int = 1
    """Threads of one block."""
    resume: bool = False
    """Go on with a stopped measurement of the same --out."""
    plan: bool = False
    """Print the measuring plan and stop."""


def main(args: Arguments) -> None:
    """Measures a latency table, or prints the plan of it."""
    if not (math.isfinite(args.minutes) and 0 < args.minutes <= 60 * 24 * 7):
        raise InputError("--minutes", "not accepted here", found=args.minutes, accepted="a number above 0")
    if not 1 <= args.threads <= 1024:
        raise InputError("--threads", "not accepted here", found=args.threads, accepted="an integer from 1 to 1024")
    from dnas.process.backend import configure

    configure(faster_compiles=False)  # what is timed is compiled as users of XLA compile it
    from dnas.measure.run import measure

    measure(
        args.space, args.runtime, out=args.out, minutes=args.minutes, threads=args.threads, resume=args.resume,
        plan_only=args.plan, progress=progress_bar,
    )  # fmt: skip


@contextmanager
def progress_bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Progress on stderr with the time left; gives a function that is told of blocks as they are measured."""
    with progress(beside(), total, "measuring", done, unit="block") as show:
        at = done

        def advance(count: int) -> None:
            nonlocal at
            at += count
            show(at, "")

        yield advance
