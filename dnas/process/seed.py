"""The number that everything random of a run follows from."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from dnas.errors import InputError

BELOW = 2**32
"""JAX's keys take so many: a larger seed would give the numbers of a smaller one."""


def checked_seed(seed: Any, several: int = 1) -> int:
    """The seed, or the first of `several` that follow one another.

    Raises:
        InputError: no integer, below 0, or too large for `jax.random.key`.
    """
    last = BELOW - several
    number = int(seed) if isinstance(seed, Integral) and not isinstance(seed, bool) else -1
    if not 0 <= number <= last:
        raise InputError("--seed", "out of range", found=seed, accepted=f"an integer from 0 to {last}")
    return number
