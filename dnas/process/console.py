"""Where commands print."""

from __future__ import annotations

import sys
from typing import Any

from dnas.process import hosts


def console(quiet: bool = False) -> Any:
    """A rich console on stdout: as wide as the terminal, or wide enough for any table where there is none.

    A quiet one prints nothing, nor does that of a process that follows another.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, quiet=quiet or hosts.follows())
