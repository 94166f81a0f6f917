"""Where commands print."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, NoReturn

from dnas.process import hosts


def console(quiet: bool = False) -> Any:
    """A rich console on stdout: as wide as the terminal, or wide enough for any table where there is none.

    A quiet one prints nothing, nor does that of a process that follows another. Where the reader has gone, printing
    raises `BrokenPipeError`, as `print` does.
    """
    from rich.console import Console

    class Ours(Console):
        """Does not end the process by itself."""

        def on_broken_pipe(self) -> NoReturn:
            """Rich would exit, with the code of a fault, or fall silent where another thread prints."""
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    return Ours(width=None if sys.stdout.isatty() else 160, highlight=False, quiet=quiet or hosts.follows())
