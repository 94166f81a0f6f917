"""Arithmetic in space files: `64 * $heads`, `round8(in * expand)`, `$w3 % 8 == 0`.

A name with a dollar is a named choice (or an argument of a template); a bare name is a field of the same block, with
`in` for the input's channels and `side` for the input's side. Only the operations listed here exist; nothing in a
file is ever executed.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dnas.errors import InputError, UserError, suggestion
from dnas.files import MAX_INTEGER
from dnas.space.quantity import Quantity

MAX_LENGTH = 200


def round8(width: float) -> int:
    """Nearest multiple of 8 (halves up, at least 8), one step more where that is below 0.95 of `width`.

    The rounding of hidden and squeeze-excite widths in the FBNetV2 and V3 releases.
    """
    rounded = max(8, 8 * math.floor(width / 8 + 0.5))
    return rounded + 8 if rounded < 0.95 * width else rounded


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "round8": round8, "ceil": math.ceil, "floor": math.floor, "int": int, "min": min, "max": max,
}  # fmt: skip
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ACCEPTED = "numbers, names, + - * / // %, comparisons, and, or, not, " + ", ".join(f"{f}()" for f in FUNCTIONS)


@dataclass(frozen=True)
class Expression:
    """A parsed formula; `names` are what it reads (`$w3`, `in`, `expand`)."""

    text: str
    where: str
    names: tuple[str, ...]
    tree: ast.expr

    def evaluate(self, lookup: Callable[[str], Quantity]) -> Quantity:
        """The formula's value for every joint option of the choices its names depend on."""

        def at_point(*values: Any) -> Any:
            try:
                value = _value(self.tree, dict(zip(self.names, values, strict=True)))
                if isinstance(value, int) and abs(value) > MAX_INTEGER:
                    raise OverflowError("too large an integer")
                return value
            except (ArithmeticError, TypeError, ValueError) as error:
                raise InputError(self.where, f"cannot compute '{self.text}': {error}") from error

        parts = [lookup(name) for name in self.names]
        try:
            return Quantity.combine(at_point, *parts)
        except InputError:
            raise
        except UserError as error:  # too many choices at once
            raise InputError(self.where, str(error)) from error


def parse(text: str, where: str) -> Expression:
    """Reads a formula; raises `InputError` at `where` for anything outside the accepted operations."""
    if len(text) > MAX_LENGTH:
        raise InputError(where, f"an expression of {len(text)} characters", accepted=f"at most {MAX_LENGTH}")
    # `in` is a keyword of the parser's language and `$` no letter of it: both are spelt otherwise on the way through.
    spelt = re.sub(r"\bin\b", "_in", re.sub(r"\$([A-Za-z_]\w*)", r"_dollar_\1", text))
    try:
        tree = ast.parse(spelt.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(where, "not a formula", found=text, accepted=_ACCEPTED) from error
    names: dict[str, None] = {}
    _check(tree, text, where, names)
    return Expression(text, where, tuple(names), tree)


def _check(node: ast.AST, text: str, where: str, names: dict[str, None]) -> None:
    match node:
        case ast.Constant(value=bool() | int() | float()):
            return
        case ast.Name(id=name):
            node.id = _spelling(name)
            names[node.id] = None
        case ast.BinOp(op=op) | ast.UnaryOp(op=op) if type(op) in _OPERATORS or isinstance(op, ast.Not):
            pass
        case ast.Compare(ops=ops) if all(type(op) in _OPERATORS for op in ops):
            pass
        case ast.BoolOp():
            pass
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise InputError(where, f"unknown function '{name}'{suggestion(name, FUNCTIONS)}", accepted=_ACCEPTED)
            for arg in args:
                _check(arg, text, where, names)
            return
        case _:
            raise InputError(where, "not a formula", found=text, accepted=_ACCEPTED)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, text, where, names)


def _spelling(name: str) -> str:
    if name == "_in":
        return "in"
    return "$" + name.removeprefix("_dollar_") if name.startswith("_dollar_") else name


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_number(left, names), _number(right, names))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, names)
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_number(operand, names))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(n, names) for n in (left, *others)]
            return all(_OPERATORS[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, names) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, names) for part in parts)
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_number(arg, names) for arg in args))
    raise AssertionError(node)


def _number(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """A value to compute with: of a text, `*` would make copies and `%` a format."""
    value = _value(node, names)
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{value!r:.40} is no number")
    return value
