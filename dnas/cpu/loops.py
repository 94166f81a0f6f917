"""Loops of dnas' own for programs that run in this process on a CPU: when they may be used, and how XLA calls them.

numba compiles them in a process of its own, beside whatever this one does, and what it makes is kept as LLVM's text
beside XLA's own programs. XLA calls loops by name; what leaves the process has none.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.errors import UserError
from dnas.process import cache
from dnas.process.interrupt import COMPILING
from dnas.process.provenance import versions

PREFIX = "dnas_"
"""Begins the names by which XLA knows loops."""
NAMES = (
    "pixel_products", "moments", "norm_sums", "norm_gradient", "scale_gradient", "mixture_gradient", "row_squares",
    "row_descent",
)  # fmt: skip
CALLS = tuple(PREFIX + name for name in NAMES)
PARTS = 8
"""Parts of the batch that are summed apart, so that threads can share the work, however many there are."""
TRIED = "DNAS_TRIED_LOOPS"
"""Holds a mark of what has been tried, for the processes that a command starts."""
LONGEST_S = 600
"""Seconds that numba is given."""
_awaited = contextvars.ContextVar("awaited", default=True)
_kept: list[Any] = []
"""What XLA may call must not be freed."""


@functools.cache
def usable() -> bool:
    """Whether programs of this process can use the loops: on CPU, where numba is installed and does what XLA needs.

    The first call begins to compile them. `DNAS_KERNELS=0` leaves them alone.
    """
    return _compiling() is not None


def wait() -> None:
    """Until the loops are compiled, where they are usable: XLA must know them before it compiles or loads a call."""
    compiling = _compiling()
    if compiling is not None:
        compiling.result()


@contextmanager
def awaited_later() -> Iterator[None]:
    """Inside, a trace does not wait for the loops: who compiles what is traced will."""
    before = _awaited.set(False)
    try:
        yield
    finally:
        _awaited.reset(before)


@functools.cache
def _compiling() -> Future[None] | None:
    if os.environ.get("DNAS_KERNELS") == "0" or jax.default_backend() != "cpu":
        return None
    if importlib.util.find_spec("numba") is None or not _tried():
        return None
    ready: Future[None] = Future()

    def compiled() -> None:
        try:
            register(json.loads(_written()))
            ready.set_result(None)
        except Exception as error:  # raised where a loop is first needed
            problem = f"numba cannot compile the loops for CPU ({error})"
            ready.set_exception(UserError(f"{problem}; DNAS_KERNELS=0 goes without them"))

    threading.Thread(target=compiled, name=COMPILING, daemon=True).start()
    return ready


def _tried() -> bool:
    """Whether one loop has done what it should, with these versions on this processor; asked of each once."""
    try:
        name = _name("tried", versions(("numba", "llvmlite", "jaxlib", "numpy")))
        path = _path(name)
        if os.environ.get(TRIED) != name and not (path and cache.read(path)):
            _run("dnas.cpu.try_loops")
            if path:
                cache.write(path, b"well")
    except Exception:  # loops are only speed: whatever stands in their way, programs go without them
        return False
    os.environ[TRIED] = name
    return True


def _written() -> bytes:
    """What `dnas.cpu.write_loops` writes, or has written for the same sources, versions and processor."""
    path = _path(_name(cache.sources(), versions(("numba", "llvmlite"))))
    found = path and cache.read(path)
    if found:
        return found
    made = _run("dnas.cpu.write_loops")
    if path:
        cache.write(path, made)
    return made


def _name(*follows_from: Any) -> str:
    """Of what also follows from the processor and numba's settings."""
    from dnas.cpu.jit import processor

    return cache.digest(follows_from, processor(), {k: v for k, v in os.environ.items() if k.startswith("NUMBA_")})


def _path(name: str) -> Path | None:
    folder = cache.folder()
    return folder and folder / "loops" / f"{name}.json"


def _run(module: str) -> bytes:
    """What a module writes to standard output, as a process; raises `RuntimeError` where it fails."""
    # It finds what this process finds, and nothing beside that. In a session of its own: Ctrl-C is for this process.
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", module], env=os.environ | {"PYTHONPATH": places, "JAX_PLATFORMS": "cpu"},
        capture_output=True, start_new_session=True, check=False, timeout=LONGEST_S,
    )  # fmt: skip
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return done.stdout


def register(written: dict[str, Any]) -> None:
    """Makes the loops known to XLA; they stay for the life of the process."""
    from dnas.cpu.jit import Jit

    jit = Jit()
    _kept.append(jit)
    at = {name: jit.address(*text) for name, text in written["functions"].items()}
    for name, (kernel, finish) in written["loops"].items():
        handler = jit.applied(PREFIX + name, at["handle"], at["work"], at[kernel], at[finish] if finish else 0)
        jax.ffi.register_ffi_target(PREFIX + name, jax.ffi.pycapsule(ctypes.c_void_p(handler)), platform="cpu")


def call(
    name: str, shapes: Sequence[tuple[int, ...]], *operands: Any, macs: int, aliases: dict[int, int] | None = None
) -> Sequence[jax.Array]:
    """Results, of float32, of the loop of that name.

    `macs` are its multiply-adds, which stand in the program for who counts them: the compiler cannot. `aliases` are
    operands that become results, by number.
    """
    assert usable(), "this process has no loops"
    if _awaited.get():
        wait()
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    called = jax.ffi.ffi_call(PREFIX + name, results, vmap_method="sequential", input_output_aliases=aliases)
    return called(*operands, macs=np.int64(macs))
