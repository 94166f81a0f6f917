"""The door to the CPU wing: the folder `dnas/cpu`, which buys time on CPUs and nothing else.

No other module imports it, so it can be taken away. Whatever it offers has a plain form outside: an offer is a value
whose fields are plain by default (`Start` here, `dnas.nn.wing.Wing`), and without a wing the default is what one gets.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

FOLDER = "dnas.cpu"
Offer = TypeVar("Offer")


class Start(NamedTuple):
    """What a command does before it traces its first program; jax need not be imported yet."""

    flags: Mapping[str, str] = {}
    """For XLA (`dnas.process.xla_flags`), name -> value."""
    restart: Callable[[], None] = lambda: None
    """Starts a command that takes many steps anew, with settings that a process can only be born with."""
    begin: Callable[[], None] = lambda: None
    """Begins, once JAX is configured, what programs will have to wait for."""


def start() -> Start:
    """What a command does when it starts, plain where the wing is not there."""
    return offered("start", Start())


def offered(module: str, plain: Offer) -> Offer:
    """What `offer()` of a module of the wing gives; `plain` where the folder, or a package that it needs, is not there.

    Whatever else goes wrong is said in a line, and harms nothing.
    """
    try:
        return importlib.import_module(f"{FOLDER}.{module}").offer()
    except ModuleNotFoundError:
        return plain
    except Exception as error:
        say_off(f"{FOLDER}.{module} raises {type(error).__name__}: {error}")
        return plain


def say_off(reason: str) -> None:
    """One line on stderr: why a part of the wing, which is there, is not used."""
    print(f"note: steps take longer than they could on this CPU: {' '.join(reason.split())}", file=sys.stderr)
