"""What an argument class says of its command line: options, places and subcommands, from its fields and their types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro

from dnas.errors import InputError


def options(arguments: type) -> Iterator[str]:
    """Every option of an argument class, as it is written."""
    hints = typing.get_type_hints(arguments, include_extras=True)
    for field in dataclasses.fields(arguments):
        if not is_positional(hints[field.name]):
            yield from names_of(field, hints[field.name])


def names_of(field: dataclasses.Field, hint: Any) -> list[str]:
    """An option's name, then further ones."""
    name = field.name.replace("_", "-")
    return [f"--no-{name}" if field.default is True else f"--{name}", *_aliases(hint)]


def is_positional(hint: Any) -> bool:
    """Whether a field is given by its place, without a name."""
    marker = typing.get_args(tyro.conf.Positional[int])[1:]
    found = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    return any(m in found for m in marker)


def takes_several(hint: Any) -> bool:
    """Whether an option may be given several values."""
    return any(typing.get_origin(part) is tuple for part in parts(hint))


def stated(arguments: Any, leaving: Sequence[str] = ()) -> dict[str, Any]:
    """The fields, without `leaving`, that are not at their defaults, as JSON values."""
    found = {f.name: (getattr(arguments, f.name), f.default) for f in dataclasses.fields(arguments)}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, (value, default) in found.items()
        if value != default and name not in leaving
    }


def words(arguments: Any, leaving: Sequence[str] = ()) -> list[str]:
    """A command line that gives these arguments, without the fields `leaving`."""
    hints = typing.get_type_hints(type(arguments), include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(arguments)}
    places, named = [], []
    for name, value in stated(arguments, leaving).items():
        if is_positional(hints[name]):
            places += [str(value)]
            continue
        option = names_of(fields[name], hints[name])[0]
        for one in value if isinstance(value, tuple) else (value,):
            named += [option] if isinstance(one, bool) else [option, str(one)]
    return [*places, *named]


def refuse(arguments: Any, names: Sequence[str], why: str) -> None:
    """Raises `InputError` for an option that is given and would do nothing."""
    for name, value in stated(arguments).items():
        if name in names:
            raise InputError(f"--{name.replace('_', '-')}", why, found=value)


def commands(arguments: type) -> dict[str, type]:
    """Name -> argument class of the subcommands, if the class has any."""
    found: dict[str, type] = {}
    for hint in typing.get_type_hints(arguments, include_extras=True).values():
        for part in parts(hint):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                found[part.__name__.lower()] = part
    return found


def command(arguments: type, argv: Sequence[str]) -> type:
    """The argument class of the subcommand given, or the class itself."""
    known = commands(arguments)
    return next((known[token] for token in argv if token in known), arguments)


def parts(hint: Any) -> Iterator[Any]:
    """The types that a hint is made of, without annotations."""
    if typing.get_origin(hint) in (typing.Annotated, typing.Union, types.UnionType):
        inner = typing.get_args(hint)
        for part in inner[:1] if typing.get_origin(hint) is typing.Annotated else inner:
            yield from parts(part)
    else:
        yield hint


def alternatives(hint: Any) -> list[Any]:
    """The words that a field may be, where it is one of several."""
    return [word for part in parts(hint) if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)]


def _aliases(hint: Any) -> Iterator[str]:
    for note in typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ():
        yield from getattr(note, "aliases", None) or ()
