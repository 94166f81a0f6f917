"""The option `--seeds` of a command: the same command once for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnas.cli.argument_class import stated, words
from dnas.fanout.task import Pool, Task

OWN = ("seed", "seeds", "out", "overwrite", "resume", "force")
"""Fields that each run is given anew."""
NO_MATTER = ("checkpoint_every", "devices", "workers", "fanout", "tensorboard", "profile", "readers")
"""Fields that a result does not follow from."""


def run(
    command: str, args: Any, name: str, *, side_by_side: Sequence[str] = ("workers", "fanout"), pool: Pool | None = None
) -> None:
    """Runs a command with the seeds that its arguments say.

    Args:
        command: its name.
        args: its arguments, which have the fields `OWN`, `workers` and `fanout`.
        name: of what it is run on.
        side_by_side: fields that say how the seeds run; the runs themselves are not given them.
        pool: what runs the seeds, if not what `workers` and `fanout` ask for.
    """
    from dnas.fanout.choose import chosen
    from dnas.process.backend import configure
    from dnas.process.console import console
    from dnas.runs.folder import Claiming
    from dnas.seeds.run import Given, check, run_seeds

    check(args.seed, args.seeds)
    pool = pool or chosen(args.workers, args.fanout)
    configure()
    said = words(args, (*OWN, *side_by_side))

    def task(seed: int, folder: str, former: str | None) -> Task:
        own = {"words": [*said, "--seed", str(seed)], "out": folder, "former": former, "force": args.force}
        return Task("dnas.cli.task:command", {"name": command, **own}, f"seed {seed}")

    given = Given(command, name, task, stated(args, (*OWN, *NO_MATTER)), args.seed, args.seeds)
    claiming = Claiming(numbered=args.out is None and not args.overwrite, overwrite=args.overwrite)
    run_seeds(given, args.out or Path("runs") / f"{name}-seeds", pool, console(), claiming)
