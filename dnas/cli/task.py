"""A whole command as a task, which a process does by itself (`dnas.fanout`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from dnas.cli.commands import COMMANDS
from dnas.cli.entry import parse
from dnas.fanout.task import Report
from dnas.runs.folder import still_stands


def command(report: Report, name: str, words: Sequence[str], out: str, former: str | None, force: bool) -> None:
    """Runs a command; raises what it raises. What it prints tells how far it is.

    It goes on in the folder `out`, or replaces what is there as long as that is what stood there before
    (`dnas.runs.folder.standing`): a process that was lost in either begins again.
    """
    how = ["--overwrite"] if still_stands(Path(out), former) else ["--resume", *["--force"][: int(force)]]
    module = import_module(COMMANDS[name].module)
    module.main(parse(module.Arguments, [*words, "--out", out, *how], f"dnas {name}"))
