"""Loops of dnas' own for programs that run in this process on a CPU: when they may be used, and how XLA calls them.

numba compiles them (`dnas.nn.ffi`) once in a process, beside whatever else it does, and XLA calls them by name. What
leaves the process has none.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.errors import UserError
from dnas.interrupt import COMPILING

PREFIX = "dnas_"
"""Begins the names by which XLA knows loops."""
NAMES = ("pixel_products", "moments", "norm_sums", "norm_gradient", "scale_gradient", "mixture_gradient")
PARTS = 8
"""Parts of the batch that are summed apart, so that threads can share the work, however many there are."""


@functools.cache
def usable() -> bool:
    """Whether programs of this process can use the loops: on CPU, where numba is installed.

    The first call begins to compile them. `DNAS_KERNELS=0` leaves them alone.
    """
    return _compiling() is not None


def wait() -> None:
    """Until the loops are compiled, where they are usable: XLA must know them before it compiles or loads a call."""
    compiling = _compiling()
    if compiling is not None:
        compiling.result()


@functools.cache
def _compiling() -> Future[None] | None:
    if os.environ.get("DNAS_KERNELS") == "0" or jax.default_backend() != "cpu":
        return None
    try:
        from dnas.nn import ffi, map_sums, pixel_products
    except ImportError:
        return None
    ready: Future[None] = Future()

    def compiled() -> None:
        try:
            kernels = pixel_products.KERNELS | map_sums.KERNELS
            for name in NAMES:
                ffi.register(PREFIX + name, *kernels[name])
            ready.set_result(None)
        except Exception as error:  # raised where a loop is first needed
            problem = f"numba cannot compile the loops for CPU ({error})"
            ready.set_exception(UserError(f"{problem}; DNAS_KERNELS=0 goes without them"))

    threading.Thread(target=compiled, name=COMPILING, daemon=True).start()
    return ready


def call(name: str, shapes: Sequence[tuple[int, ...]], *operands: Any, macs: int) -> Sequence[jax.Array]:
    """Results, of float32, of the loop of that name.

    `macs` are its multiply-adds, which stand in the program for who counts them: the compiler cannot.
    """
    assert usable(), "this process has no loops"
    wait()
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    called = jax.ffi.ffi_call(PREFIX + name, results, vmap_method="sequential")
    return called(*operands, macs=np.int64(macs))
