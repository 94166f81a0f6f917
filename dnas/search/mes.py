"""Mobile efficiency score: parameters and latency as one number (EfficientFormerV2, Li et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from dnas.errors import InputError

SCORE = 100.0
UNITS = {"params": 3e6, "ms": 1.0}
"""What a network of the score `SCORE` has: parameters, milliseconds."""
EXPONENT = 0.5
Sign = Literal["minus", "plus"]


def mobile_efficiency_score(
    metrics: Mapping[str, float],
    units: Mapping[str, float] | None = None,
    *,
    exponents: Mapping[str, float] | None = None,
    sign: Sign = "minus",
) -> float:
    """100 * prod_i (M_i / U_i)^(-alpha_i); with `plus`, ^(+alpha_i).

    Args:
        metrics: M_i above 0, by name, each in the unit of its U_i (`params`: a count, `ms`: milliseconds).
        units: U_i by name; `UNITS` if not given.
        exponents: alpha_i in (0, 1] by name; `EXPONENT` for those not given.
        sign: `minus` makes smaller networks score higher, as the score is meant; `plus` grows with size.

    Raises `InputError` for a metric without a unit, a number that is not above 0 or an exponent outside (0, 1].
    """
    units, exponents = units or UNITS, exponents or {}
    direction = -1 if sign == "minus" else 1
    log_score = 0.0
    for name, metric in metrics.items():
        if name not in units:
            raise InputError(f"metric '{name}'", "has no unit", accepted=", ".join(units))
        alpha = exponents.get(name, EXPONENT)
        for what, value in (("metric", metric), ("unit", units[name])):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} '{name}'", "not accepted here", found=value, accepted="a number above 0")
        if not 0 < alpha <= 1:
            raise InputError(f"exponent of '{name}'", "not accepted here", found=alpha, accepted="above 0, at most 1")
        log_score += direction * alpha * (math.log(metric) - math.log(units[name]))
    return SCORE * math.exp(log_score)
