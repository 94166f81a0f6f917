"""Numbers for people: a unit that fits, and enough digits that no number contradicts the limit beside it."""

from __future__ import annotations

import math

COUNTS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))
TIMES = (("s", 1e3), ("ms", 1.0), ("us", 1e-3), ("ns", 1e-6))
MOST_DECIMALS = 12


def counted(value: float, unit: str = "", limit: float | None = None) -> str:
    """A count: `56.23 M`, `3.75 kparams`, `752`; with a `limit`, in as many decimals as tell the two apart."""
    prefix, size = _fitting(value, COUNTS, 2)
    decimals = 0 if size == 1 and float(value).is_integer() else 2
    return f"{_apart(value / size, None if limit is None else limit / size, decimals)} {prefix}{unit}".rstrip()


def timed(ms: float, limit: float | None = None) -> str:
    """Milliseconds in the unit that fits: `6.123 ms`, `850.000 us`; with a `limit` as `counted`."""
    unit, size = _fitting(ms, TIMES, 3)
    return f"{_apart(ms / size, None if limit is None else limit / size, 3)} {unit}"


def axis(largest: float, unit: str) -> tuple[str, float]:
    """The unit of an axis that reaches to `largest` (`ms` for times, else what is counted), and its size."""
    if unit == "ms":
        return _fitting(largest, TIMES, 3)
    prefix, size = _fitting(largest, COUNTS, 2)
    return prefix + unit, size


def share(value: float, decimals: int = 1) -> str:
    """A share as percent; only what is whole reads 100 %, and only nothing 0 %."""
    return f"{_apart(100 * value, 0.0 if value < 0.5 else 100.0, decimals)} %"


def accuracy(value: float, images: int) -> str:
    """A share of images classified right with its standard error: `61.3 +- 2.1 %`."""
    return f"{100 * value:.1f} +- {100 * standard_error(value, images):.1f} %"


def standard_error(value: float, images: int) -> float:
    """Of a share of `images`; one right and one wrong are added, so that none or all right is not called certain."""
    smoothed = (value * images + 1) / (images + 2)
    return math.sqrt(smoothed * (1 - smoothed) / max(1, images))


def _fitting(value: float, units: tuple[tuple[str, float], ...], decimals: int) -> tuple[str, float]:
    """The largest unit of which the value has at least one, as it will be rounded; the smallest for less."""
    plain = next(u for u in units if u[1] == 1)
    return next((u for u in units if round(abs(value) / u[1], decimals) >= 1), units[-1] if value else plain)


def _apart(value: float, limit: float | None, decimals: int) -> str:
    """`value` with at least `decimals` decimals, more where it would read as `limit` and is not."""
    while limit is not None and value != limit and decimals < MOST_DECIMALS:
        if f"{value:.{decimals}f}" != f"{limit:.{decimals}f}":
            break
        decimals += 1
    return f"{value:.{decimals}f}"
