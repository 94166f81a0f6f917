"""The text of `--help`: what a command does, and its options in groups, the common ones first.

An argument class says where its groups begin: `groups` maps the first field of each to its title. Fields are explained
by the docstrings under them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dnas.cli.argument_class import alternatives, commands, is_positional, names_of, parts, takes_several

WIDEST = 110
KINDS = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}


def shown(arguments: type, prog: str, given: Sequence[str]) -> str:
    """The help of an argument class, or of its subcommand that is `given`."""
    known = commands(arguments)
    chosen = next((token for token in given if token in known), None)
    if chosen is not None:
        return shown(known[chosen], f"{prog} {chosen}", ())
    if known:
        width = max(map(len, known))
        lines = [f"  {name:{width}}  {_about(part)}" for name, part in known.items()]
        usage = f"usage: {prog} COMMAND ..."
        return "\n".join([usage, "", _about(arguments), "", *lines, "", f"Options of each: {prog} COMMAND --help"])
    fields = dataclasses.fields(arguments)
    hints = typing.get_type_hints(arguments, include_extras=True)
    places = [_place(f, hints[f.name]) for f in fields if is_positional(hints[f.name])]
    lines = [f"usage: {' '.join([prog, *places])} [options]", "", *_wrapped(_about(arguments), "")]
    groups, documented = getattr(arguments, "groups", {}), _documented(arguments)
    for number, field in enumerate(fields):
        if field.name in groups or number == 0:
            lines += ["", f"{groups.get(field.name, 'options')}:"]
        lines += _option(field, hints[field.name], documented.get(field.name, ""))
    return "\n".join(lines)


def _option(field: dataclasses.Field, hint: Any, about: str) -> Iterator[str]:
    default = field.default
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    flag = isinstance(default, bool)  # told apart from the numbers 0 and 1, which equal them
    if not flag and default not in (dataclasses.MISSING, None, ""):
        about += f" (default: {default})"
    elif default is dataclasses.MISSING and not is_positional(hint):
        about += " (required)"
    yield f"  {_place(field, hint) if is_positional(hint) else _written(field, hint)}"
    yield from _wrapped(about, " " * 6)


def _written(field: dataclasses.Field, hint: Any) -> str:
    kind = _kind(hint)
    return ", ".join(names_of(field, hint)) + (f" {kind}" if kind else "")


def _place(field: dataclasses.Field, hint: Any) -> str:
    name = field.name.upper() + (" ..." if takes_several(hint) else "")
    return name if field.default is dataclasses.MISSING else f"[{name}]"


def _kind(hint: Any) -> str:
    """What an option is followed by: nothing, one of several words, a value of a kind, or several of them."""
    chosen = alternatives(hint)
    if chosen:
        return "{" + ",".join(map(str, chosen)) + "}"
    for part in parts(hint):
        if typing.get_origin(part) is tuple:
            return f"{_kind(typing.get_args(part)[0])} ..."
        if part in KINDS:
            return KINDS[part]
    return ""


def _about(arguments: type) -> str:
    return inspect.getdoc(arguments) or ""


def _documented(arguments: type) -> dict[str, str]:
    """Field -> the docstring under it."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(arguments))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def _wrapped(text: str, indent: str) -> list[str]:
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    return [
        line for part in text.split("\n\n")
        for line in textwrap.wrap(" ".join(part.split()), width, initial_indent=indent, subsequent_indent=indent)
    ]  # fmt: skip
