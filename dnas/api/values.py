"""Values of Python as the commands have them."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from dnas.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])
PLAIN = {
    "int": (int, "an integer"),
    "float": (float, "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "a text"),
}
"""Annotation of an argument -> its type, and what messages call it."""
PATH = "str | os.PathLike[str]"
"""Annotation of a path."""


def plain_arguments(function: Function) -> Function:
    """The function, whose arguments of plain types, and paths, are what their annotations say.

    Numbers of numpy become those of Python. The call raises `InputError` for a value of another type.
    """
    signature = inspect.signature(function)
    plain, paths = {}, {}
    for name, parameter in signature.parameters.items():
        annotation = re.sub(r"^Literal\[[^]]*\]", "str", str(parameter.annotation))  # one of some words
        if annotation.removesuffix(" | None") == PATH:
            paths[name] = annotation != PATH
        word, _, rest = annotation.partition(" | ")
        if word in PLAIN and rest in ("", "None"):
            plain[name] = (*PLAIN[word], rest)

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        bound = signature.bind(*arguments, **named)
        for name in paths.keys() & bound.arguments.keys():
            value, or_none = bound.arguments[name], paths[name]
            if not (isinstance(value, str | os.PathLike) or (value is None and or_none)):
                accepted = "a path or None" if or_none else "a path"
                raise InputError(name, "not accepted here", found=repr(value), accepted=accepted)
        for name in plain.keys() & bound.arguments.keys():
            (kind, told, rest), value = plain[name], plain_values({name: bound.arguments[name]})[name]
            try:
                bound.arguments[name] = msgspec.convert(value, kind | None if rest else kind)
            except msgspec.ValidationError:
                accepted = f"{told} or None" if rest else told
                raise InputError(name, "not accepted here", found=value, accepted=accepted) from None
        return function(*bound.args, **bound.kwargs)

    return checked  # type: ignore[return-value]


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, of which numbers of numpy are those of Python."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def texts(where: str, given: str | Sequence[str]) -> list[str]:
    """One text or several, as a list; raises `InputError`."""
    found: list[Any] = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else [given]
    for text in found:
        if not isinstance(text, str):
            raise InputError(where, "not a text", found=text, accepted="such as '200MFLOPs', or a list of such texts")
    return found
