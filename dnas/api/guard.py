"""The edge of every function of the API, as `dnas.cli.entry` is that of the commands.

What goes wrong is an exception of `dnas.errors` with the one line that the command prints. What a run needs of the
process is given back: signal handlers by the run itself, the environment here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dnas.errors import Stopped, UserError, what_to_try

OURS = "DNAS_"
"""Begins the names of what dnas notes in the environment for processes that it starts."""


@contextmanager
def guarded(go_on: str = "") -> Iterator[None]:
    """Runs the block at the edge of the API; `go_on` is how a run that was stopped is continued.

    Raises:
        UserError: also for a limit of the machine (disk, memory), and where JAX computes in float64.
        Stopped: as the block raises it.
    """
    before = _ours()
    try:
        _in_float32()
        yield
    except Stopped as stop:
        raise Stopped(f"{stop.done}; {go_on}" if go_on else stop.done, stop.signal_number) from None
    except UserError:
        raise
    except Exception as error:
        line = what_to_try(error)
        if line is None:
            raise
        raise UserError(line) from error
    finally:
        for name in _ours():
            del os.environ[name]
        os.environ.update(before)


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(OURS)}


def _in_float32() -> None:
    """Raises `UserError` where this process has switched on what would change every number."""
    import jax

    if jax.config.read("jax_enable_x64"):
        raise UserError(
            "jax_enable_x64 is on in this process, and dnas computes in float32, so that a seed gives one result; "
            "switch it off: jax.config.update('jax_enable_x64', False)"
        )
