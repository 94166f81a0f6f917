"""Loops of dnas' own for programs that run in this process on a CPU: how they are made known to XLA, and called.

Whether they may be used is for `dnas.cpu.built` to say. XLA calls loops by name; what leaves the process has none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PREFIX = "dnas_"
"""Begins the names by which XLA knows loops."""
NAMES = (
    "pixel_products", "moments", "norm_sums", "norm_gradient", "scale_gradient", "mixture_gradient", "row_squares",
    "row_descent",
)  # fmt: skip
CALLS = tuple(PREFIX + name for name in NAMES)
PARTS = 8
"""Parts of the batch that are summed apart, so that threads can share the work, however many there are."""
_kept: list[Any] = []
"""What XLA may call must not be freed."""


def register(written: Mapping[str, Any]) -> None:
    """Makes loops (`dnas.cpu.build.written`) known to XLA; they stay for the life of the process."""
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
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    called = jax.ffi.ffi_call(PREFIX + name, results, vmap_method="sequential", input_output_aliases=aliases)
    return called(*operands, macs=np.int64(macs))
