"""The fields of a block where it is met: defaults and formulas computed, values checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnas.blocks import KINDS
from dnas.errors import InputError, suggestion
from dnas.ops.tensor import Tensor
from dnas.space.expr import Expression, parse
from dnas.space.fields import Formula
from dnas.space.quantity import Quantity
from dnas.space.space import Block


def evaluated_fields(node: Block, x: Tensor) -> dict[str, Quantity]:
    """Every field of a block as a quantity, defaults and formulas computed, values checked."""
    kind = KINDS[node.kind]
    done: dict[str, Quantity] = {"in": x.channels}
    if x.side is not None:
        done["side"] = x.side
    active: list[str] = []

    def lookup(name: str) -> Quantity:
        if name.startswith("$"):
            return node.scope[name[1:]]
        if name in done:
            return done[name]
        if name not in kind.fields:
            known = (*kind.fields, "in", *(["side"] if x.side is not None else []))
            problem = f"unknown name '{name}' in a formula of {node.path}{suggestion(name, known)}"
            raise InputError(node.where, problem, accepted=", ".join(known))
        if name in active:
            raise InputError(node.where, f"{node.path}.{name} depends on itself ({' -> '.join((*active, name))})")
        active.append(name)
        spec = kind.fields[name]
        value: Any = node.fields.get(name, spec.default)
        if isinstance(value, Formula):
            value = parse(value.text, f"{node.where}.{name}")
        if isinstance(value, Expression):
            value = value.evaluate(lookup)
        elif not isinstance(value, Quantity):
            value = Quantity.constant(value)
        done[name] = Quantity.combine(lambda v: spec.validated(v, f"{node.where}.{name}"), value)
        active.pop()
        return done[name]

    return {name: lookup(name) for name in kind.fields}


def effective_fields(kind: str, fields: Mapping[str, Quantity], x: Tensor) -> dict[str, Quantity]:
    """The fields of a block as it takes them: parts that a map is cut into (`Field.tiles`) are at most as large as it.

    Values that come to the same here are one network: what tells networks apart, or names blocks, reads these.
    """
    if x.side is None:
        return dict(fields)
    tiles = [name for name, field in KINDS[kind].fields.items() if field.tiles]
    return {**fields, **{name: Quantity.combine(min, fields[name], x.side) for name in tiles}}
