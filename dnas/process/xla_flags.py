"""Flags for XLA that the installed XLA knows.

XLA ends the process at a flag that it does not know, and the names change between versions. Flags are therefore tried
in a process of their own, once for each version: the answer is kept beside the compiler's cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dnas.errors import UserError
from dnas.process import cache
from dnas.process.provenance import versions

KNOWN = "DNAS_KNOWN_XLA_FLAGS"
"""Holds a mark of the flags of this environment that have been tried, for the processes that a command starts."""
TRIAL = "import jax; jax.devices('cpu')"
LONGEST_TRIAL_S = 120
_REFUSED = re.compile(r"XLA_FLAGS|Couldn't interpret value|Unknown flag")


def prepare(ours: Mapping[str, str], folder: Path | None) -> None:
    """Sets `XLA_FLAGS` to the user's flags, which win, and those of `ours` (name -> value) that this XLA knows.

    `folder` is where answers are kept (None: they are not). Raises `UserError` for flags of the user's that XLA
    refuses.
    """
    theirs = os.environ.get("XLA_FLAGS", "").strip()
    problem = _refused(theirs, folder) if theirs else None
    if problem is not None:
        raise UserError(f"XLA_FLAGS={theirs}: XLA does not take it: {problem}; correct it or unset it")
    if theirs and not theirs.startswith("-"):
        return  # the name of a file of flags: nothing can stand beside it
    wanted = [f"--{name}={value}" for name, value in ours.items() if name not in theirs]
    if wanted and _refused(_joined(theirs, wanted), folder) is not None:
        wanted = [flag for flag in wanted if _refused(_joined(theirs, [flag]), folder) is None]
    os.environ["XLA_FLAGS"] = flags = _joined(theirs, wanted)
    os.environ[KNOWN] = _mark(flags)


def _joined(theirs: str, ours: Sequence[str]) -> str:
    return " ".join([*filter(None, [theirs]), *ours])


def _mark(flags: str) -> str:
    return cache.digest(versions(("jaxlib",)), flags)


def _refused(flags: str, folder: Path | None) -> str | None:
    """What is said against flags; None where XLA takes them."""
    if os.environ.get(KNOWN) == _mark(flags):
        return None
    path = folder and folder / "flags" / _mark(flags)
    found = cache.read(path) if path else None
    if found is not None:
        return found.decode() or None
    said, sure = _tried(flags)
    if path and sure:
        cache.write(path, said.encode())
    return said or None


def _tried(flags: str) -> tuple[str, bool]:
    """The line with which a process with these flags ends, empty where it ends well; and whether XLA itself said it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", TRIAL],
            env=environment,
            capture_output=True,
            timeout=LONGEST_TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error), False
    if done.returncode == 0:
        return "", True
    lines = done.stderr.decode(errors="replace").splitlines() or [f"exit code {done.returncode}"]
    refusal = next((line for line in lines if _REFUSED.search(line)), None)
    return re.sub(r"^[A-Z]\d+ .*?\] ", "", refusal or lines[-1]), refusal is not None
