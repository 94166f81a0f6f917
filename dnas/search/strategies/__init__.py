"""The search algorithms by name. A new one is a file with `compile_programs` and `strategy`, and a line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

FILES = {"dmasking": "dmasking"}


def load(name: str) -> Any:
    """The module of a strategy."""
    return import_module(f"dnas.search.strategies.{FILES[name]}")
