"""Whether this process may use the loops: built by numba in a process of its own, and proved there before first use.

What was built and proved is kept, as LLVM's text, beside XLA's own programs, for the same sources, versions and
processor. The loops are only speed: whatever stands in their way is said in a line, and programs go without them.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import jax

from dnas.cpu import versions
from dnas.cpu.loops import register
from dnas.process import cache, provenance
from dnas.process.interrupt import COMPILING
from dnas.process.wing import say_off

PROVED = "DNAS_PROVED_LOOPS"
"""Holds the name of what has been proved, for the processes that a command starts."""
LONGEST_S = 300
"""Seconds that building and proving may take."""


def begin() -> None:
    """Begins what `usable` waits for, beside whatever this process does."""
    if _wanted():
        _ready()


@functools.cache
def usable() -> bool:
    """Whether programs of this process can call the loops: on CPU, where numba is installed and they are proved.

    `DNAS_KERNELS=0` leaves them alone.
    """
    if not _wanted():
        return False
    unknown = versions.unknown()
    if unknown:
        say_off(unknown)
        return False
    try:
        _ready().result()
    except Exception as error:
        say_off(f"what numba builds does not pass its proof, and is not used: {error}")
        return False
    return True


def _wanted() -> bool:
    if os.environ.get("DNAS_KERNELS") == "0" or jax.default_backend() != "cpu":
        return False
    return importlib.util.find_spec("numba") is not None


_beginning = threading.Lock()


def _ready() -> Future[None]:
    with _beginning:
        return _made()


@functools.cache
def _made() -> Future[None]:
    """Done when XLA knows the loops; raises what stands in the way."""
    ready: Future[None] = Future()

    def make() -> None:
        try:
            register(_written())
            ready.set_result(None)
        except Exception as error:
            ready.set_exception(error)

    threading.Thread(target=make, name=COMPILING, daemon=True).start()
    return ready


def _written() -> Mapping[str, Any]:
    """What `dnas.cpu.build` writes, or has written and proved before."""
    from dnas.cpu.jit import processor

    of_numba = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    name = cache.digest(cache.sources(), provenance.versions(versions.PACKAGES), processor(), of_numba)
    folder = cache.folder()
    path = folder and folder / "loops" / f"{name}.json"
    found = path and cache.read(path)
    if not found:
        found = _run("dnas.cpu.build", *([] if os.environ.get(PROVED) == name else ["prove"]))
        if path:
            cache.write(path, found)
    os.environ[PROVED] = name
    return json.loads(found)


def _run(module: str, *arguments: str) -> bytes:
    """What a module writes to standard output, as a process; raises `RuntimeError` where it fails."""
    # It finds what this process finds, and nothing beside that. In a session of its own: Ctrl-C is for this process.
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": places, "JAX_PLATFORMS": "cpu"}, capture_output=True, start_new_session=True,
        check=False, timeout=LONGEST_S,
    )  # fmt: skip
    if done.returncode < 0:
        raise RuntimeError(f"the process that builds them was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"the process that builds them ends with code {done.returncode}")
    return done.stdout
