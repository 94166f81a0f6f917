"""Which form of an operation a backend gets: the one place that tells backends apart.

XLA's CPU backend needs forms of its own (`docs/performance.md` has the measurements): a grouped convolution runs there
as a naive loop, and what is next to each other is fused whether that helps or not. Every other backend gets the
library's operator, which cuDNN, MIOpen and the TPU compiler know; it multiplies there in the precision that is that
backend's default for float32 (TensorFloat-32, bfloat16 passes) and adds up in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax


def by_backend(cpu: Callable[..., Any], others: Callable[..., Any], *operands: Any) -> Any:
    """`cpu(*operands)` where the program is lowered for CPU, `others(*operands)` elsewhere; both give equal values."""
    return lax.platform_dependent(*operands, cpu=cpu, default=others)
