"""The arithmetic of the operators on arrays. A module is loaded where it is first used: spaces are read and counted
without jax.

    maths.norm.layer_norm(x, mask, epsilon)
"""

from __future__ import annotations

import importlib
from typing import Any

MODULES = ("activation", "attention", "axes", "circulant", "conv", "mixing", "norm", "pool", "windows")


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(name)
    return importlib.import_module(f"{__name__}.{name}")
