"""dnas COMMAND ..., the console script, and python -m dnas."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import NoReturn

from dnas import __version__
from dnas.cli.commands import COMMANDS, overview
from dnas.errors import InputError, suggestion
from dnas.process.wing import start


def main() -> NoReturn:
    """Runs the command that the command line names, and exits."""
    from dnas.cli.entry import call

    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        run_command(name, rest, f"dnas {name}")
    sys.exit(call(_about, name))


def run_module(name: str) -> NoReturn:
    """Runs a command that was called as `python -m dnas.NAME`, and exits."""
    run_command(name, sys.argv[1:], f"python -m dnas.{name}")


def run_command(name: str, argv: list[str], prog: str) -> NoReturn:
    """Runs a command with its arguments, and exits; `prog` is how it was called."""
    from dnas.process.interrupt import never_dropped

    never_dropped()
    try:
        from dnas.cli.entry import run

        command = COMMANDS[name]
        if command.lasting:
            start().restart()
        module = import_module(command.module)
        run(module.main, module.Arguments, argv, prog)
    except KeyboardInterrupt:  # before the command itself has begun
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _about(name: str) -> None:
    """Answers what is no command; raises `InputError` for a name that is not known."""
    match name:
        case "--help" | "-h" | "help":
            print(overview())
        case "--version" | "-V":
            print(f"dnas {__version__}")
        case _:
            kind = "option" if name.startswith("-") else "command"
            known = ["--help", "--version"] if kind == "option" else list(COMMANDS)
            raise InputError(name, f"unknown {kind}{suggestion(name, known)}", accepted=", ".join(known))


if __name__ == "__main__":
    main()
