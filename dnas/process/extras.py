"""Optional packages, imported on use."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from dnas.errors import MissingExtra


def need(module: str, extra: str, how: str = "") -> Any:
    """The module, or a `MissingExtra` that says what to install (`how`, where it is not as plain as an extra)."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingExtra(f"{missing} is missing; {how or f'install dnas[{extra}]'}") from error


def unusable(module: str) -> str:
    """Why a module cannot be used here; empty where it can. A broken installation counts as none."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    try:
        importlib.import_module(module)
    except Exception as error:  # torch's extensions raise what they like when versions do not fit
        return f"{module} cannot be imported ({str(error).splitlines()[0]})"
    return ""
