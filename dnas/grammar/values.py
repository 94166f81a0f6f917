"""The values of a document of the grammar: constants, choices, formulas, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dnas.errors import InputError, suggestion
from dnas.files import Document
from dnas.space.expr import Expression, parse
from dnas.space.fields import ACCEPTED, Field, Options
from dnas.space.order import matching, order_constraints
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Node

EXTRA = (
    "costs", "as_trained", "search", "training", "compression", "lineage", "imported", "preprocessing", "choices_taken",
    "labels",
)  # fmt: skip
"""Keys of a file beside those of the grammar: what wrote it has recorded there."""
ANY = Field(object, "a value or a choice", "argument of a template")


class Values:
    """Reads the values of one document. Choices are collected in the order in which they are met."""

    def __init__(self, document: Document):
        self.document = document
        self.choices: dict[str, Choice] = {}
        self.places: dict[str, tuple] = {}
        """Where the options of each choice stand in the document."""

    def quantity(
        self, value: Any, place: tuple, field: Field, name: str, scope: Mapping[str, Quantity]
    ) -> Quantity | Expression:
        """A field's value: constant, choice, or formula (evaluated now unless it reads the block's own fields)."""
        where = self.document.where(place)
        if isinstance(value, dict):
            if not field.searchable:
                raise InputError(where, "cannot be searched", found=value, accepted=field.accepts)
            return self._checked(self.choice(value, place, name), field, where)
        if (
            isinstance(value, str)
            and (value.startswith("$") or field.type is not str)
            and field is not ANY
            or (field is ANY and isinstance(value, str) and "$" in value)
        ):
            expression = parse(value, where)
            if all(n.startswith("$") for n in expression.names):
                quantity = self._checked(expression.evaluate(self.lookup(scope, place)), field, where)
                if not field.searchable and not quantity.is_constant:
                    raise InputError(where, "cannot be searched", found=value, accepted=field.accepts)
                return quantity
            if not field.searchable:
                raise InputError(where, "cannot follow from the block", found=value, accepted=field.accepts)
            for n in expression.names:
                if n.startswith("$"):
                    self.lookup(scope, place)(n)
            return expression
        return self._checked(Quantity.constant(value), field, where)

    def _checked(self, quantity: Quantity, field: Field, where: str) -> Quantity:
        if field is ANY:
            return quantity
        return Quantity.combine(lambda v: field.validated(v, where), quantity) if quantity.is_constant else Quantity(
            quantity.over, Quantity.combine(lambda v: field.validated(v, where), quantity).table_over(quantity.over)
        )  # fmt: skip

    def choice(self, value: Any, place: tuple, name: str) -> Quantity:
        """A choice by its options; a single option is a constant."""
        where = self.document.where(place)
        try:
            options = msgspec.convert(value, Options, strict=True).options(where)
        except msgspec.ValidationError as error:
            accepted = ACCEPTED
            keys = value if isinstance(value, dict) else ()
            unknown = [key for key in keys if key not in Options.__struct_fields__]
            if unknown:
                near = suggestion(str(unknown[0]), Options.__struct_fields__)
                problem = f"not a choice: unknown key '{unknown[0]}'{near}"
                raise InputError(where, problem, found=value, accepted=accepted) from None
            raise InputError(where, f"not a choice: {error}", found=value, accepted=accepted) from None
        if len(options) == 1:
            return Quantity.constant(options[0])
        return Quantity.of(self.register(Choice(name, options), place))

    def register(self, choice: Choice, place: tuple) -> Choice:
        """Adds a choice; raises `InputError` where its name is taken."""
        if choice.name in self.choices:
            raise InputError(self.document.where(place), f"two choices with the name '{choice.name}'")
        self.choices[choice.name], self.places[choice.name] = choice, place
        return choice

    def lookup(self, scope: Mapping[str, Quantity], place: tuple) -> Callable[[str], Quantity]:
        """`$name` -> its quantity; the place is named where there is none."""

        def lookup(name: str) -> Quantity:
            known = [f"${n}" for n in scope]
            if name not in known:
                raise InputError(
                    self.document.where(place), f"unknown name '{name}'{suggestion(name, known)}",
                    accepted=", ".join(known) or "no names here",
                )  # fmt: skip
            return scope[name[1:]]

        return lookup

    def constraint(self, text: Any, place: tuple, scope: Mapping[str, Quantity]) -> Quantity:
        """A formula that must hold: 1 where it does, 0 elsewhere."""
        where = self.document.where(place)
        if not isinstance(text, str):
            raise InputError(where, "not a formula", found=text)
        formula, lookup = parse(text, where), self.lookup(scope, place)
        result = Quantity.combine(lambda v: int(bool(v)), formula.evaluate(lookup))
        if not result.table.any():
            known = {name: lookup(name) for name in formula.names}
            values = ", ".join(f"{name} is {q.value}" for name, q in known.items() if q.is_constant)
            problem = f"does not hold: {values}" if values else "no architecture satisfies this"
            raise InputError(where, problem, found=text)
        return result

    def order(self, entry: dict[str, Any], place: tuple, nodes: list[Node]) -> list[Quantity]:
        """`{order: [a, b], of: pattern}`."""
        where = self.document.where(place)
        entry = self.mapping(entry, place, ("order", "of"))
        order, pattern = entry.get("order"), entry.get("of")
        if not isinstance(order, list) or len(order) < 2 or not isinstance(pattern, str):
            accepted = "{order: [option, option], of: choice.*.name}"
            raise InputError(where, "not an order", found=entry, accepted=accepted)
        run = matching(list(self.choices.values()), pattern)
        if not run:
            raise InputError(where, "no choice has such a name", found=pattern, accepted=", ".join(self.choices))
        for choice in run:
            unknown = [o for o in order if o not in choice.options]
            if unknown:
                accepted = ", ".join(map(str, choice.options))
                raise InputError(where, f"not an option of {choice.name}", found=unknown[0], accepted=accepted)
        return order_constraints(run, order, nodes, ".".join(map(str, place)))

    def mapping(self, value: Any, place: tuple, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The mapping at a place, with no other than these keys."""
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise InputError(self.document.where(place), "not a mapping", found=value)
        for key in value:
            if keys is not None and key not in keys:
                shown = [k for k in keys if k not in EXTRA]
                raise InputError(
                    self.document.where((*place, key)), f"unknown key '{key}'{suggestion(key, keys)}",
                    accepted=", ".join(shown),
                )  # fmt: skip
        return value

    def listed(self, data: dict[str, Any], key: str) -> list[Any]:
        """The list under a key; empty where there is none."""
        value = [] if data.get(key) is None else data[key]
        if not isinstance(value, list):
            raise InputError(self.document.where((key,)), "not a list", found=value)
        return value
