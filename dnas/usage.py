"""Command lines into argument classes, every mistake in one line: the option, what was found, what is accepted.

tyro reads the arguments. Unknown options and commands are found here first, because the nearest known one is the best
answer; what tyro itself refuses is taken out of its box and put into one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from dnas.errors import InputError, UserError, suggestion

Arguments = TypeVar("Arguments")

_CHOICE = re.compile(r"invalid choice '(?P<found>.*)' for argument '(?P<name>.*?)'\. Expected one of \((?P<known>.*)\)")
_VALUE = re.compile(
    r"Error parsing (?P<name>\S+): (?:no type matching )?(?P<wanted>.*?) could be instantiated from (?P<found>\[.*?\])"
)
_MISSING = re.compile(r"(?:Missing|Expected).*? for (?:argument )?'(?P<name>.*?)'")
_FRAME = re.compile(r"^[│|╭╰+]|[│|╮╯+]$")
_RULE = re.compile(r"^[\s─-]{4,}$")


def read_arguments(arguments: type[Arguments], argv: Sequence[str] | None, prog: str) -> Arguments:
    """The arguments of a command line; raises `UserError` for a mistake in them, `SystemExit` after `--help`."""
    given = list(sys.argv[1:] if argv is None else argv)
    _check_names(arguments, given)
    given = _gathered(arguments, given)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                arguments, args=given, prog=prog, description=arguments.__doc__,
                config=(tyro.conf.FlagCreatePairsOff,),
            )  # fmt: skip
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _said(told.getvalue(), prog, _command(arguments, given), given) from None


def _check_names(arguments: type, argv: Sequence[str]) -> None:
    """Raises `InputError` for an unknown command or option, with the nearest one."""
    commands = _commands(arguments)
    named = next((token for token in argv if not token.startswith("-")), None)
    if commands and named is not None and named not in commands:
        raise InputError(named, f"unknown command{suggestion(named, commands)}", accepted=", ".join(commands))
    arguments = _command(arguments, argv)
    known = ["--help", *_options(arguments)]
    for token in argv:
        if token == "--":
            return
        name = "--" + token[2:].partition("=")[0].replace("_", "-")
        if token.startswith("--") and name not in known and not name.startswith("--tyro-"):
            raise InputError(
                token.partition("=")[0], f"unknown option{suggestion(name, known)}", accepted=", ".join(known)
            )


def _gathered(arguments: type, argv: list[str]) -> list[str]:
    """The line with what is positional in front: tyro takes it in one run only, not before and behind an option."""
    if _commands(arguments) or "--" in argv:
        return argv
    hints = typing.get_type_hints(arguments)
    flags = {f"--{'no-' * (f.default is True)}{f.name.replace('_', '-')}" for f in dataclasses.fields(arguments)
             if hints[f.name] is bool} | {"--help"}  # fmt: skip
    positional, options, tokens = [], [], iter(argv)
    for token in tokens:
        if not token.startswith("-"):
            positional.append(token)
            continue
        options.append(token)
        if token.startswith("--") and "=" not in token and token.replace("_", "-") not in flags:
            options += itertools.islice(tokens, 1)
    return [*positional, *options]


def _options(arguments: type) -> Iterator[str]:
    """Every option of an argument class, as it is written."""
    hints = typing.get_type_hints(arguments, include_extras=True)
    for field in dataclasses.fields(arguments):
        if tyro.conf.Positional not in _annotations(hints[field.name]):
            name = field.name.replace("_", "-")
            yield f"--no-{name}" if field.default is True else f"--{name}"
            yield from _aliases(hints[field.name])


def _annotations(hint: Any) -> tuple[Any, ...]:
    marker = typing.get_args(tyro.conf.Positional[int])[1:]
    found = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    return (tyro.conf.Positional,) if any(m in found for m in marker) else ()


def _aliases(hint: Any) -> Iterator[str]:
    """Further names of an option."""
    for note in typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ():
        yield from getattr(note, "aliases", None) or ()


def _commands(arguments: type) -> dict[str, type]:
    """Name -> argument class of the subcommands, if the class has any."""
    found: dict[str, type] = {}
    for hint in typing.get_type_hints(arguments, include_extras=True).values():
        for part in _parts(hint):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                found[part.__name__.lower()] = part
    return found


def _command(arguments: type, argv: Sequence[str]) -> type:
    """The argument class of the subcommand given, or the class itself."""
    commands = _commands(arguments)
    return next((commands[token] for token in argv if token in commands), arguments)


def _parts(hint: Any) -> Iterator[Any]:
    """The types that a hint is made of, without annotations."""
    if typing.get_origin(hint) in (typing.Annotated, typing.Union, types.UnionType):
        inner = typing.get_args(hint)
        for part in inner[:1] if typing.get_origin(hint) is typing.Annotated else inner:
            yield from _parts(part)
    else:
        yield hint


def _said(box: str, prog: str, arguments: type, given: Sequence[str]) -> UserError:
    """What tyro printed in its box, as one line in the style of every other mistake."""
    # Where standard output is not UTF-8, the box is made of spaces and a rule stands below its title.
    lines = [_FRAME.sub("", line).strip() for line in box.splitlines()]
    title = lines[0].strip("─- ") if lines else "mistake in the arguments"
    rest = itertools.dropwhile(lambda line: not line or _RULE.match(line), lines[1:])
    body = list(itertools.takewhile(lambda line: line and not _RULE.match(line), rest))
    text = " ".join(body)
    if match := _CHOICE.search(text):
        known = [name.strip(" '\"") for name in match["known"].split(",")]
        near = suggestion(match["found"], known)
        return InputError(match["name"], f"not accepted here{near}", found=match["found"], accepted=", ".join(known))
    if match := _VALUE.search(text):
        wanted = match["wanted"].replace("{None}|", "")
        return InputError(match["name"], "not accepted here", found=match["found"].strip("[]'\""), accepted=wanted)
    if match := _MISSING.search(text):
        return UserError(f"{match['name']}: nothing given; see {prog} --help")
    if title == "Required options":
        return UserError(f"missing: {', '.join(_required(arguments, given))}; see {prog} --help")
    if title == "Unrecognized options":
        return UserError(f"{text.partition(': ')[2]}: not expected here; see {prog} --help")
    return UserError(f"{title[:1].lower()}{title[1:]}: {text}; see {prog} --help")


def _required(arguments: type, given: Sequence[str]) -> list[str]:
    """What must be given and is not; a positional argument by its name in capitals."""
    required = [f for f in dataclasses.fields(arguments) if f.default is f.default_factory is dataclasses.MISSING]
    options = [f"--{f.name.replace('_', '-')}" for f in required]
    known = list(_options(arguments))
    missing = [o for o in options if o in known and o not in {token.partition("=")[0] for token in given}]
    return missing or [f.name.upper() for f, option in zip(required, options, strict=True) if option not in known]
