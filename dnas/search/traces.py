"""Traced programs kept between starts, so that the next one of the same search traces nothing.

What is kept is StableHLO, as `jax.export` writes it: data that is read, never code that is run. A program follows from
what the search is, the sources of dnas, the settings of jax, and the shapes of the arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from dnas.process import cache


class Traces:
    """The traced programs of one search in a folder."""

    def __init__(self, folder: Path, search: Mapping[str, Any]):
        self.folder = folder
        settings = {name: repr(value) for name, value in jax.config.values.items() if "cache" not in name}
        self._key = [search, cache.sources(), settings, jax.default_backend()]

    def read(self, name: str, arguments: Sequence[Any]) -> bytes | None:
        """A program for arguments like these (arrays or their shapes) as it was written, or None."""
        return cache.read(self._path(name, arguments))

    def write(self, name: str, arguments: Sequence[Any], program: bytes) -> None:
        cache.write(self._path(name, arguments), program)

    def _path(self, name: str, arguments: Sequence[Any]) -> Path:
        shapes = [(list(a.shape), str(a.dtype)) for a in arguments]
        return self.folder / f"{cache.digest(self._key, name, shapes)}.stablehlo"


def traces(search: Mapping[str, Any]) -> Traces | None:
    """Those of a search, in the folder of the compiler's cache; None where there is no cache.

    `search` is all that the programs of a search follow from, as JSON values.
    """
    folder = cache.folder()
    return Traces(folder / "traces", search) if folder else None
