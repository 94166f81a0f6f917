"""Where commands print."""

from __future__ import annotations

import sys
from typing import Any


def console(quiet: bool = False) -> Any:
    """A rich console on stdout: as wide as the terminal, or wide enough for any table where there is none.

    A quiet one prints nothing.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, quiet=quiet)
