"""The edge of every command: arguments in, exit code out.

A command is a frozen dataclass of arguments (docstrings under its fields are the help) and a function of it:

    if __name__ == "__main__":
        run(main, Arguments)

Arguments are parsed before the function is called, and this module imports no jax, so `--help` and mistakes in the
arguments answer at once. Exit codes: 0 done, 1 a fault of ours (with traceback), 2 a mistake in the input (one line).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import tyro

from dnas.errors import Stopped, UserError

Arguments = TypeVar("Arguments")


def run(main: Callable[[Arguments], int | None], arguments: type[Arguments], argv: list[str] | None = None) -> NoReturn:
    """Parses the command line, calls `main` and exits."""
    sys.exit(call(main, parse(arguments, argv)))


def parse(arguments: type[Arguments], argv: list[str] | None = None) -> Arguments:
    """The arguments of a command line; usage errors exit with code 2."""
    module = sys.modules[arguments.__module__]
    spec = getattr(module, "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else arguments.__module__
    return tyro.cli(
        arguments, args=argv, prog=f"python -m {name}", description=arguments.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )  # fmt: skip


def call(main: Callable[[Arguments], int | None], arguments: Arguments) -> int:
    """Calls `main`; the exit code. A `UserError` becomes one line on stderr, a closed pipe or Ctrl-C no traceback."""
    try:
        code = main(arguments) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`); nothing may be flushed to it any more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def console() -> Any:
    """A rich console on stdout: as wide as the terminal, or wide enough for any table where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def short(count: float) -> str:
    """A count for people: 56.23 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f}"
