"""Command lines into argument classes, every mistake in one line: the option, what was found, what is accepted.

tyro reads the arguments. Unknown options and commands are found here first, because the nearest known one is the best
answer; what tyro itself refuses is taken out of its box and put into one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import re
import sys
import typing
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from dnas.cli import help
from dnas.cli.argument_class import command, commands, is_positional, names_of, options, parts, takes_several
from dnas.errors import InputError, UserError, suggestion

Arguments = TypeVar("Arguments")

_CHOICE = re.compile(r"invalid choice '(?P<found>.*)' for argument '(?P<name>.*?)'\. Expected one of \((?P<known>.*)\)")
_VALUE = re.compile(
    r"Error parsing (?P<name>\S+): (?:no type matching )?(?P<wanted>.*?) could be instantiated from (?P<found>\[.*?\])"
)
_LITERAL = re.compile(r"Error parsing (?P<name>\S+): invalid literal for int\(\).*?: '(?P<found>.*)'")
_MISSING = re.compile(r"(?:Missing|Expected).*? for (?:argument )?'(?P<name>.*?)'")
_NEGATIVE = re.compile(r"-[\d.]")
_FRAME = re.compile(r"^[│|╭╰+]|[│|╮╯+]$")
_RULE = re.compile(r"^[\s─-]{4,}$")


def read_arguments(arguments: type[Arguments], argv: Sequence[str] | None, prog: str) -> Arguments:
    """The arguments of a command line; raises `UserError` for a mistake in them, `SystemExit` after `--help`."""
    given = list(sys.argv[1:] if argv is None else argv)
    _check_names(arguments, given)
    if not {"--help", "-h"}.isdisjoint(given):
        print(help.shown(arguments, prog, given))
        raise SystemExit(0)
    given = _gathered(arguments, given, prog)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            found = tyro.cli(
                arguments, args=given, prog=prog, description=arguments.__doc__,
                config=(tyro.conf.FlagCreatePairsOff,),
            )  # fmt: skip
    except SystemExit:
        raise _said(told.getvalue(), prog, command(arguments, given), given) from None
    _check_finite(found)
    return found


def _check_finite(found: Any) -> None:
    """Raises `InputError` for a number that is none, or has no bound: `nan`, `inf`."""
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            option = f"--{field.name.replace('_', '-')}"
            raise InputError(option, "not accepted here", found=value, accepted="a finite number")


def _check_names(arguments: type, argv: Sequence[str]) -> None:
    """Raises `InputError` for an unknown command or option, with the nearest one."""
    known = commands(arguments)
    named = next((token for token in argv if not token.startswith("-")), None)
    if known and named is not None and named not in known:
        raise InputError(named, f"unknown command{suggestion(named, known)}", accepted=", ".join(known))
    arguments = command(arguments, argv)
    allowed = ["--help", *options(arguments)]
    for token in argv:
        if token == "--":
            return
        name = "--" + token[2:].partition("=")[0].replace("_", "-")
        if token.startswith("--") and name not in allowed and not name.startswith("--tyro-"):
            near = suggestion(name, allowed)
            accepted = None if near else ", ".join(allowed)  # searches have sixty
            raise InputError(token.partition("=")[0], f"unknown option{near}", accepted=accepted)


def _gathered(arguments: type, argv: list[str], prog: str) -> list[str]:
    """The line as tyro takes it, in which what is given by its place, and each option's values, stand in one run.

    Options that take several values have them at once (`--against A B`) or one by one (`--against A --against B`).
    Where nothing else is given by its place, the last value of a longer run is: `--budget 2MB RUN`. Raises `UserError`
    for such an option without a value.
    """
    if commands(arguments) or "--" in argv:
        return argv
    hints = typing.get_type_hints(arguments, include_extras=True)
    named = [field for field in dataclasses.fields(arguments) if not is_positional(hints[field.name])]
    flags = {names_of(f, hints[f.name])[0] for f in named if bool in parts(hints[f.name])} | {"--help"}
    several = {names_of(f, hints[f.name])[0] for f in named if takes_several(hints[f.name])}
    places, single, runs, rest = [], [], {}, deque(argv)
    while rest:
        token = rest.popleft()
        option, joined, value = token.partition("=")
        option = option.replace("_", "-")
        if not _names_option(token):
            places.append(token)
        elif option in several:
            run = [value] if joined else []
            while rest and not _names_option(rest[0]):
                run.append(rest.popleft())
            if not run:
                raise UserError(f"{option}: nothing given; see {prog} --help")
            runs.setdefault(option, []).append(run)
        else:
            single.append(token)
            if rest and token.startswith("--") and not joined and option not in flags:
                single.append(rest.popleft())
    if not places and len(hints) > len(named):
        places = next(([run.pop()] for of in runs.values() for run in of if len(run) > 1), [])
        if not places and (missing := _required(arguments, argv)):  # else tyro takes an option's only value for it
            raise UserError(f"missing: {', '.join(missing)}; see {prog} --help")
    joint = [token for option, of in runs.items() for token in (option, *itertools.chain(*of))]
    return [*places, *single, *joint]


def _names_option(token: str) -> bool:
    """Whether this is an option; `-5MFLOPs` is a value, though none that a budget can have."""
    return token.startswith("-") and not _NEGATIVE.match(token)


def _said(box: str, prog: str, arguments: type, given: Sequence[str]) -> UserError:
    """What tyro printed in its box, as one line in the style of every other mistake."""
    # Where standard output is not UTF-8, the box is made of spaces and a rule stands below its title.
    lines = [_FRAME.sub("", line).strip() for line in box.splitlines()]
    title = lines[0].strip("─- ") if lines else "mistake in the arguments"
    rest = itertools.dropwhile(lambda line: not line or _RULE.match(line), lines[1:])
    body = list(itertools.takewhile(lambda line: line and not _RULE.match(line), rest))
    text = " ".join(body)
    if match := _CHOICE.search(text):
        known = sorted({name.strip(" '\"") for name in match["known"].split(",")} - {"None"})
        near = suggestion(match["found"], known)
        return InputError(match["name"], f"not accepted here{near}", found=match["found"], accepted=", ".join(known))
    if match := _VALUE.search(text):
        wanted = match["wanted"].replace("{None}|", "")
        return InputError(match["name"], "not accepted here", found=match["found"].strip("[]'\""), accepted=wanted)
    if match := _LITERAL.search(text):
        return InputError(match["name"], "not accepted here", found=match["found"], accepted="an integer")
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
    written = [f"--{f.name.replace('_', '-')}" for f in required]
    known = list(options(arguments))
    missing = [o for o in written if o in known and o not in {token.partition("=")[0] for token in given}]
    return missing or [f.name.upper() for f, option in zip(required, written, strict=True) if option not in known]
