"""What a traced program computes: products (in the matrix units of an accelerator) and all else, loops counted through.

A compiler's own count takes the body of a loop once; a step has loops over sampled blocks and resolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr

FREE = frozenset((
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "pad", "concatenate", "iota",
    "convert_element_type", "copy", "gather", "scatter", "dynamic_slice", "dynamic_update_slice", "select_n", "rev",
    "stop_gradient", "optimization_barrier", "split", "bitcast_convert_type", "platform_index",
))  # fmt: skip
"""What moves numbers and computes none."""


class Arithmetic(NamedTuple):
    """Of one run of a program, by all devices together."""

    products: float = 0.0
    """Floating-point operations of matrix products and convolutions; a multiply-add is two."""
    others: float = 0.0
    """One for each element that another operation makes, or a reduction reads."""
    bytes: float = 0.0
    """That products read and write, each of their arrays once."""
    unknown_loops: int = 0
    """Loops whose length is known at run time alone, taken once."""

    @property
    def flops(self) -> float:
        """All of them."""
        return self.products + self.others

    def __add__(self, other: Any) -> Arithmetic:
        return Arithmetic(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, count: float) -> Arithmetic:
        """Of so many runs."""
        return Arithmetic(count * self.products, count * self.others, count * self.bytes, self.unknown_loops)


def arithmetic(program: ClosedJaxpr | Jaxpr, platform: str) -> Arithmetic:
    """Of a traced program on a platform; of branches that are chosen at run time the largest counts."""
    total = Arithmetic()
    for equation in getattr(program, "jaxpr", program).eqns:
        total += _of(equation, platform)
    return total


def _of(equation: Any, platform: str) -> Arithmetic:
    name, params = equation.primitive.name, equation.params
    match name:
        case "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            return _product(equation, 2 * _elements(equation.outvars) * math.prod(shape[n] for n in contracted))
        case "conv_general_dilated":
            kernel, out = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec[0]
            taps = math.prod(kernel) / kernel[out] / math.prod(params["lhs_dilation"])
            return _product(equation, 2 * _elements(equation.outvars) * taps)
        case "scan":
            return arithmetic(params["jaxpr"], platform).times(params["length"])
        case "while":
            return arithmetic(params["body_jaxpr"], platform) + Arithmetic(unknown_loops=1)
        case "shard_map":
            return arithmetic(params["jaxpr"], platform).times(params["mesh"].size)
        case "cond":
            return _branch(params, platform)
    inner = list(_programs(params))
    if inner:
        return arithmetic(inner[0], platform)
    if name in FREE:
        return Arithmetic()
    reads = name.startswith(("reduce_", "arg", "cum"))
    return Arithmetic(others=_elements(equation.invars if reads else equation.outvars))


def _branch(params: Any, platform: str) -> Arithmetic:
    """The branch for the platform, where that decides."""
    for names, branch in zip(params.get("branches_platforms") or (), params["branches"], strict=False):
        if names is None or platform in names:
            return arithmetic(branch, platform)
    return max((arithmetic(branch, platform) for branch in params["branches"]), key=lambda found: found.flops)


def _product(equation: Any, flops: float) -> Arithmetic:
    moved = sum(v.aval.size * v.aval.dtype.itemsize for v in (*equation.invars, *equation.outvars))
    return Arithmetic(flops, 0.0, float(moved))


def _programs(params: Any) -> Iterator[ClosedJaxpr | Jaxpr]:
    """Those that an equation calls."""
    for value in params.values():
        if isinstance(value, ClosedJaxpr | Jaxpr):
            yield value


def _elements(variables: Any) -> float:
    return float(sum(getattr(v.aval, "size", 0) for v in variables))
