"""What a field of a block may hold: the type of its value, what is accepted, and what it is when left out.

A field in a file is a value, a choice (`{choices: [3, 5]}`, `{range: [16, 28, 4]}`), a named choice (`$w3`) or a
formula (`64 * $heads`). The type is checked on every option and on every value a formula can take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from dnas.errors import InputError, suggestion
from dnas.space.quantity import Option

REQUIRED = object()
MAX_OPTIONS = 512
ACCEPTED = "{choices: [...]}, {range: [low, high, step]} or {log_range: [low, high, number]}"
"""What a choice is written as."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A choice in a file: `choices: [a, b, ...]`, `range: [low, high, step]` or `log_range: [low, high, number]`."""

    choices: tuple[Option, ...] | None = None
    range: tuple[int | float, int | float, int | float] | None = None
    log_range: tuple[int | float, int | float, int] | None = None
    """So many numbers, each in the same ratio to the one before."""

    def options(self, where: str) -> tuple[Option, ...]:
        """The options in order; raises `InputError` for none, repeated ones or a range that is not one."""
        if [self.choices, self.range, self.log_range].count(None) != 2:
            raise InputError(where, "a choice needs 'choices', 'range' or 'log_range'", accepted="one of the three")
        if self.choices is not None:
            options = self.choices
        else:
            options = _stepped(self.range, where) if self.range is not None else _in_ratio(self.log_range, where)
        if not options:
            raise InputError(where, "a choice without options", accepted="at least one")
        if len(options) > MAX_OPTIONS:
            raise InputError(where, f"{len(options)} options", accepted=f"at most {MAX_OPTIONS}")
        # Numbers of one value are one option, also where their types differ; true is no 1.
        if len({(isinstance(o, bool), o) for o in options}) < len(options):
            raise InputError(where, "an option stands twice", found=list(options))
        return options


def _stepped(bounds: tuple[int | float, int | float, int | float] | None, where: str) -> tuple[Option, ...]:
    assert bounds is not None
    low, high, step = bounds
    if not all(map(math.isfinite, (low, high, step))) or step <= 0 or high < low:
        raise InputError(where, "not a range", found=[low, high, step], accepted="[low, high, step], step above 0")
    count = (high - low) / step
    if count > MAX_OPTIONS:
        raise InputError(where, f"{count:.0f} options", accepted=f"at most {MAX_OPTIONS}")
    if abs(count - round(count)) > 1e-6:
        raise InputError(where, "the step does not lead from low to high", found=[low, high, step])
    if all(isinstance(v, int) for v in (low, high, step)):
        return tuple(range(int(low), int(high) + 1, int(step)))
    return tuple(round(low + i * step, 9) for i in range(round(count) + 1))


def _in_ratio(bounds: tuple[int | float, int | float, int] | None, where: str) -> tuple[Option, ...]:
    assert bounds is not None
    low, high, number = bounds
    if not all(map(math.isfinite, (low, high))) or not 0 < low < high or not 2 <= number <= MAX_OPTIONS:
        accepted = f"[low, high, number], 0 < low < high, 2 to {MAX_OPTIONS} numbers"
        raise InputError(where, "not a range of logarithms", found=[low, high, number], accepted=accepted)
    between = [low * (high / low) ** (n / (number - 1)) for n in range(1, number - 1)]
    return (float(low), *(float(f"{value:.4g}") for value in between), float(high))


@dataclass(frozen=True)
class Field:
    """One field of a block kind. `default` may be a formula over other fields, given as `Formula`."""

    type: Any
    accepts: str
    about: str
    default: Any = REQUIRED
    check: Callable[[Any], bool] = lambda value: True
    searchable: bool = True
    written: Literal["always", "changed", "never"] = "changed"
    """Whether an exported architecture states the field: a hidden width always, a padding only where unusual."""
    part_of: str | None = None
    """The flag field without which this one means nothing."""
    lasts: bool = True
    """False where it only says how training starts, so that nothing of a running network depends on it."""
    tiles: bool = False
    """Whether it is the side of equal parts that a map is cut into: a part is at most as large as the map
    (`dnas.graph.fields.effective_fields`), and values that divide the map's side waste none of it."""
    names: tuple[str, ...] = ()
    """The names accepted, where the field is one of a few names."""

    def validated(self, value: Any, where: str) -> Any:
        """`value` as the field's type; raises `InputError` naming what is accepted."""
        if isinstance(value, float) and value.is_integer() and self.type in (Positive, NonNegative):
            value = int(value)
        try:
            value = msgspec.convert(value, self.type, strict=True)
        except msgspec.ValidationError:
            most = MOST_RATIO if self.type == Ratio else MOST
            number = isinstance(value, int | float) and not isinstance(value, bool)
            accepted = f"{self.accepts}, at most {most:,}" if number and value > most else self.accepts
            raise InputError(where, "not accepted here", found=value, accepted=accepted) from None
        if not self.check(value):
            near = suggestion(value, self.names) if self.names else ""
            raise InputError(where, f"not accepted here{near}", found=value, accepted=self.accepts)
        return value


@dataclass(frozen=True)
class Formula:
    """A default that follows from other fields of the block."""

    text: str


MOST, MOST_RATIO = 1_000_000, 1000
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
NonNegative = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Ratio = Annotated[float, msgspec.Meta(gt=0, le=MOST_RATIO)]


def integer(about: str, default: Any = REQUIRED, *, least: int = 1, **rest: Any) -> Field:
    """A whole number of at least 0 or 1."""
    kind = Positive if least == 1 else NonNegative
    return Field(kind, f"an integer from {least}", about, default, **rest)


def odd(about: str, default: Any = REQUIRED, **rest: Any) -> Field:
    """An odd integer, such as a kernel's side."""
    return Field(Positive, "an odd integer from 1 to 31", about, default, lambda v: v % 2 == 1 and v <= 31, **rest)


def ratio(about: str, default: Any = REQUIRED, **rest: Any) -> Field:
    """A number above 0."""
    return Field(Ratio, "a number above 0", about, default, **rest)


def flag(about: str, default: Any = REQUIRED, **rest: Any) -> Field:
    """True or false."""
    return Field(bool, "true or false", about, default, **rest)


def name(about: str, names: tuple[str, ...], default: Any = REQUIRED, **rest: Any) -> Field:
    """One of the names."""
    return Field(str, "one of " + ", ".join(names), about, default, lambda v: v in names, names=names, **rest)
