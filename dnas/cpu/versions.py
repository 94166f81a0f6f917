"""Versions that the wing was proved on: with others it is off until it is proved on them too."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import metadata

KNOWN: Mapping[str, tuple[str, str]] = {"jaxlib": ("0.10", "0.12"), "numba": ("0.61", "0.68")}
"""Package -> the first and the last release, whatever their last number."""
PACKAGES = ("numba", "llvmlite", "jaxlib", "numpy")
"""Those that loops follow from."""
GLIBC = ("2.33", "2.42")
"""The same of the C library, for settings of its heap (`dnas.cpu.heap`, `dnas.cpu.restart`)."""


def unknown() -> str:
    """Which package loops are not known to work with, as a clause; empty where all are known."""
    return next(filter(None, (_unknown(name, metadata.version(name), known) for name, known in KNOWN.items())), "")


def unknown_glibc() -> str:
    """The same of the C library, where that is glibc."""
    return _unknown("glibc", glibc(), GLIBC) if glibc() else ""


def _unknown(name: str, version: str, known: tuple[str, str]) -> str:
    first, last = known
    if _release(first) <= _release(version) <= _release(last):
        return ""
    return f"{name} {version} is none of the versions that it was proved on ({first} to {last})"


def glibc() -> str:
    """Its version; empty where the C library is another."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (AttributeError, ValueError, OSError):
        return ""


def _release(version: str) -> tuple[int, ...]:
    """Its first two numbers."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
