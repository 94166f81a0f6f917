"""The search algorithms by name. A new one is a file with `check`, `compile_programs`, `strategy`, and a name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = ("dmasking", "slimming", "sandwich", "random", "evolution")


def load(name: str) -> Any:
    """The module of a strategy."""
    assert name in NAMES, name
    return import_module(f"dnas.search.strategies.{name}")
