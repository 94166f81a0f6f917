"""A run as several seeds have it, without a network."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from dnas.errors import UserError
from dnas.fanout.task import Task
from dnas.files import write_json
from dnas.runs.folder import Claiming, Owner, claimed, still_stands


def one(report, out: str, former: str | None, identity: dict, killed: str, failing: list[str]) -> None:
    """Writes a result into its folder as commands do; is killed once before that, where the file `killed` is not there,
    and fails where its seed is among `failing`."""
    if not Path(killed).exists():
        Path(killed).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if Path(out).name in failing:
        raise UserError("not now")
    anew = still_stands(Path(out), former)
    with claimed(Path(out), Owner("search", identity), Claiming(resume=not anew, overwrite=anew), print) as claim:
        if not claim.finished:
            with claim.result(lambda staged: None) as staged:
                write_json(staged / "architecture.json", identity)
                write_json(staged / "provenance.json", claim.record(staged) | {"process": os.getpid()})


def task(seed: int, out: str, former: str | None, budget: int, killed: Path, failing: list[str]) -> Task:
    own = {"identity": {"seed": seed, "budget": budget}, "killed": str(killed), "failing": failing}
    return Task("tests.seeds.chores:one", {"out": out, "former": former, **own}, f"seed {seed}")
