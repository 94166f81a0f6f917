"""Quantisation simulated in a forward pass: numbers are rounded to their grid, and computed with as float32."""

from __future__ import annotations

from jaxtyping import Array

from dnas.maths.quantize import on_grid
from dnas.ops.operator import Held
from dnas.space.quantized import FIRST, RESULT, SECOND


def factors(held: Held, x: Array, w: Array) -> tuple[Array, Array]:
    """The two factors of an operator's product as they are multiplied; the same where it is not quantised."""
    how = held.quantized
    if how is None or how.bits is None:
        return x, w
    return on_grid(x, held[FIRST], how.bits), on_grid(w, held[SECOND], how.bits)


def result(held: Held, y: Array) -> Array:
    """The result of an operator as it is handed on."""
    how = held.quantized
    return y if how is None or how.result is None else on_grid(y, held[RESULT], how.result)
