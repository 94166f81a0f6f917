"""`python -m dnas.cpu.try_loops`: whether a loop of the installed numba does what it should when XLA calls it.

A process of its own, for `dnas.cpu.loops`: versions that do not fit each other may end it.
"""

from __future__ import annotations

import jax
import numpy as np

from dnas.cpu import loops
from dnas.cpu.map_sums import KERNELS
from dnas.cpu.write_loops import written

IMAGES, PIXELS, CHANNELS = 3, 4, 5


def main() -> None:
    """Raises `AssertionError` where the moments of a map are wrong."""
    loops.register(written({"moments": KERNELS["moments"]}))
    x = np.random.default_rng(0).normal(size=(IMAGES, PIXELS, CHANNELS)).astype(np.float32)
    shapes = [(IMAGES, 2, CHANNELS), *[(CHANNELS,)] * 4]
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    weights, zero = np.full(PIXELS, 1 / PIXELS, np.float32), np.zeros(CHANNELS, np.float32)
    called = jax.ffi.ffi_call(loops.PREFIX + "moments", results)
    _, mean, variance, *_ = jax.jit(lambda *given: called(*given, macs=np.int64(0)))(x, weights, zero, zero, zero[0])
    np.testing.assert_allclose(mean, x.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(variance, x.var((0, 1)), atol=1e-5)


if __name__ == "__main__":
    main()
