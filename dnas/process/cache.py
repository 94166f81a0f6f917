"""Files kept between starts, beside the compiler's own, so that a next start need not make them again.

What is kept is data for a compiler, under a name that is a digest of all that it follows from. A file that is not
whole, or cannot be written, counts as absent.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from dnas.errors import UserError
from dnas.files import write_atomic

DIGEST = hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where things are kept; None where there is no cache (`DNAS_CACHE=`, or not a command)."""
    import jax

    found = jax.config.values["jax_compilation_cache_dir"]
    return Path(found) if found and "://" not in found else None


def digest(*parts: Any) -> str:
    """Of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> bytes | None:
    """What `write` wrote there, or None."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    mark, content = found[:DIGEST], found[DIGEST:]
    return content if hashlib.sha256(content).digest() == mark else None


def write(path: Path, content: bytes) -> None:
    """Keeps `content` at a path, with its digest; nothing where it cannot be written."""
    with contextlib.suppress(UserError):  # a cache is a convenience
        write_atomic(path, hashlib.sha256(content).digest() + content)


@functools.cache
def sources() -> str:
    """Digest of the sources of dnas."""
    found, package = hashlib.sha256(), Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        found.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()
