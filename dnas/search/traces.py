"""Traced programs kept on disk, beside the compiler's cache, so that the next start of the same search traces nothing.

What is kept is StableHLO, as `jax.export` writes it: data that is read, never code that is run. A file's name is a
digest of everything that a program follows from: what the search is, the sources of dnas, the settings of jax, and the
shapes of the arguments. A file that is not whole, or cannot be written, counts as absent.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array

from dnas.errors import UserError
from dnas.files import write_atomic

DIGEST = hashlib.sha256().digest_size


class Traces:
    """The traced programs of one search in a folder."""

    def __init__(self, folder: Path, search: Mapping[str, Any]):
        self.folder = folder
        settings = {name: repr(value) for name, value in jax.config.values.items() if "cache" not in name}
        self._key = json.dumps([search, _sources(), settings, jax.default_backend()], sort_keys=True)

    def read(self, name: str, arguments: Sequence[Array]) -> bytes | None:
        """A program as it was written, or None."""
        try:
            content = self._path(name, arguments).read_bytes()
        except OSError:
            return None
        digest, program = content[:DIGEST], content[DIGEST:]
        return program if hashlib.sha256(program).digest() == digest else None

    def write(self, name: str, arguments: Sequence[Array], program: bytes) -> None:
        with contextlib.suppress(UserError):  # a cache is a convenience
            write_atomic(self._path(name, arguments), hashlib.sha256(program).digest() + program)

    def _path(self, name: str, arguments: Sequence[Array]) -> Path:
        shapes = [(list(a.shape), str(a.dtype)) for a in arguments]
        return self.folder / f"{hashlib.sha256(json.dumps([self._key, name, shapes]).encode()).hexdigest()}.stablehlo"


def traces(search: Mapping[str, Any]) -> Traces | None:
    """Those of a search, in the folder of the compiler's cache; None where there is no cache.

    `search` is all that the programs of a search follow from, as JSON values.
    """
    cache = jax.config.values["jax_compilation_cache_dir"]
    return Traces(Path(cache) / "traces", search) if cache else None


@functools.cache
def _sources() -> str:
    """Digest of the sources of dnas."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
