"""The edge of every command: arguments in, exit code out.

A command is a frozen dataclass of arguments (docstrings under its fields are the help) and a function of it, both in
one file of this package (`dnas.cli.commands`).

Arguments are parsed before the function is called, and this module imports no jax, so `--help` and mistakes in the
arguments answer at once. Exit codes: 0 done, 1 a fault of ours (with traceback), 2 a mistake in the input, or a limit
of the machine that the user can do something about (one line).
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from dnas.cli.usage import read_arguments
from dnas.errors import Stopped, UserError, what_to_try
from dnas.files import text_of
from dnas.process.interrupt import leave

Arguments = TypeVar("Arguments")
LONGEST = 1500
"""Characters of an error's line."""


def run(
    main: Callable[[Arguments], int | None], arguments: type[Arguments], argv: list[str] | None = None,
    prog: str | None = None,
) -> NoReturn:  # fmt: skip
    """Parses the command line, calls `main` and exits; `prog` is how the command was called."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any name is shown, in any locale
    given = parse(arguments, argv, prog)
    try:
        code = call(main, given)
    except Exception:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
        code = 1
    leave(code)  # also after a fault: of several processes the others would wait for this one


def parse(arguments: type[Arguments], argv: list[str] | None = None, prog: str | None = None) -> Arguments:
    """The arguments of a command line; usage errors are one line and exit with code 2."""
    try:
        return read_arguments(arguments, argv, prog or _called(arguments.__module__))
    except UserError as error:
        sys.exit(_tell(str(error)))
    except BrokenPipeError:  # help that nobody reads to its end
        _close_stdout()
        sys.exit(0)


def call(main: Callable[[Arguments], int | None], arguments: Arguments) -> int:
    """Calls `main`; the exit code. A `UserError` becomes one line on stderr, a closed pipe or Ctrl-C no traceback."""
    try:
        code = main(arguments) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        return _tell(str(error))
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        _close_stdout()
        return 0
    except OSError as error:
        line = what_to_try(error)
        if line is None:
            raise
        if error.filename is None:
            _close_stdout()
        return _tell(line)
    except Exception as error:
        line = what_to_try(error)
        if line is None:
            raise
        return _tell(line)


def _called(name: str) -> str:
    """How the module of a command is started: as a module, or as the file of a script."""
    spec = getattr(sys.modules[name], "__spec__", None)
    if spec is None and name == "__main__":
        return f"python {sys.argv[0]}"
    return f"python -m {spec.name.removesuffix('.__main__') if spec else name}"


def _tell(message: str) -> int:
    """Prints one line; the exit code of mistakes. What a file holds is shown without its control characters."""
    text = text_of(" ".join(message.split()))
    line = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    print(f"error: {line}", file=sys.stderr)
    return 2


def _close_stdout() -> None:
    """The reader has gone (`| head`), or its disk is full: nothing may be flushed to it any more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
