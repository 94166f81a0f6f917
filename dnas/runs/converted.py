"""Plain data as strict records: what a file holds, read within bounds.

A value of another type or outside its range is an `InputError` with the file, the place in it and the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from dnas.errors import InputError

Struct = TypeVar("Struct", bound=msgspec.Struct)


def converted(data: Any, kind: type[Struct], where: str) -> Struct:
    """Plain data as a record, every number in it finite; raises `InputError` naming the place and the value."""
    try:
        value = msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        keys, found = _at(data, re.findall(r"[^.\[\]]+|\[\.\.\.\]", place.rstrip("`")), problem)
        shown = None if isinstance(found, dict | list) else {"found": found}
        raise InputError(": ".join([where, *filter(None, [".".join(keys)])]), problem, **shown or {}) from None
    for number in _numbers(msgspec.to_builtins(value)):
        if not (math.isfinite(number) and abs(number) < 1e30):
            raise InputError(where, "a number that cannot be", found=number)
    return value


_NAMES = {type(None): "null", dict: "object", list: "array"}


def _at(data: Any, keys: list[str], problem: str) -> tuple[list[str], Any]:
    """The place that msgspec names and the value there; it writes `...` for any key of a mapping, which is looked up
    by the type that the problem names."""
    place: list[str] = []
    for n, key in enumerate(keys):
        if key == "[...]":
            ends = [(k, _at(v, keys[n + 1 :], problem)) for k, v in data.items()]
            wrong = [
                (k, end) for k, end in ends if f"got `{_NAMES.get(type(end[1]), type(end[1]).__name__)}`" in problem
            ]
            return (place, data) if not wrong else ([*place, wrong[0][0], *wrong[0][1][0]], wrong[0][1][1])
        place.append(key)
        data = data[int(key)] if isinstance(data, list) else data.get(key) if isinstance(data, dict) else data
    return place, data


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)
