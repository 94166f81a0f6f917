"""A whole command as a task, which a process does by itself (`dnas.fanout`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from dnas.cli.commands import COMMANDS
from dnas.cli.entry import parse
from dnas.fanout.task import Report


def command(report: Report, name: str, words: Sequence[str]) -> None:
    """Runs a command; raises what it raises. What it prints tells how far it is."""
    module = import_module(COMMANDS[name].module)
    module.main(parse(module.Arguments, list(words), f"dnas {name}"))
