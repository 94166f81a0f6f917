"""Lists of blocks in a space's file to the nodes of a space: kinds, fields, repetitions, options and templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dnas.blocks import KINDS
from dnas.errors import InputError, suggestion
from dnas.files import Document
from dnas.grammar.values import ANY, Values
from dnas.space.expr import Expression
from dnas.space.fields import REQUIRED, Field, NonNegative
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Block, Node, OneOf, Stage

MAX_NODES = 2000
LABEL = re.compile(r"[\w-]+")
INDEX = "index"
"""The name under which a repetition finds its own number."""
REPEAT = Field(NonNegative, "an integer from 0 to 200, or a range", "repetitions", check=lambda n: n <= 200)


class Placed(NamedTuple):
    """A value of a file, and where it stands."""

    value: Any
    place: tuple
    own: bool = False
    """Whether it is one repetition's, by `each`."""


Fields = dict[str, Placed]


class Nodes(Values):
    """Reads the blocks of one document."""

    def __init__(self, document: Document):
        super().__init__(document)
        self.named: frozenset[str] = frozenset()
        """Names that are known anywhere in the file."""
        self.templates: Mapping[str, Any] = {}
        self.inside: tuple[str, ...] = ()  # templates being read now, outermost first
        self.count = 0

    def items(self, items: Any, place: tuple, scope: Mapping[str, Quantity]) -> list[Node]:
        """The nodes of a list of blocks at a place of the file; raises `InputError`."""
        if not isinstance(items, list):
            raise InputError(self.document.where(place), "not a list of blocks", found=items)
        return [n for i, item in enumerate(items) for n in self._item(item, (*place, i), f"{place[0]}.{i}", scope)]

    def _item(self, item: Any, place: tuple, path: str, scope: Mapping[str, Quantity]) -> list[Node]:
        """The nodes of one list entry: one, or one a repetition."""
        kind, fields, repeat = self._kind(item, place)
        if repeat is None:
            return [self._node(kind, fields, place, path, scope, True)]
        where = self.document.where(repeat.place)
        depth = self.quantity(repeat.value, repeat.place, REPEAT, f"{path}.repeat", scope)
        if isinstance(depth, Expression):
            raise InputError(where, "a number of repetitions cannot follow from the block", found=depth.text)
        most = depth.max()
        blocks = [
            self._node(kind, own, place, f"{path}.{n}", {**scope, INDEX: Quantity.constant(n)}, n == 0)
            for n, own in enumerate(self._each(kind, fields, most))
        ]
        least = depth.min()
        if least == most:
            return blocks
        return [*blocks[:least], Stage(path, tuple(blocks[least:]), depth - least, where)]

    def _kind(self, item: Any, place: tuple) -> tuple[str, Any, Placed | None]:
        """Kind, fields and repetition of `{kind: {...}}`, beside or inside whose braces `repeat` may stand.

        The fields of `one_of` are its list of blocks, all others are `Fields`.
        """
        where = self.document.where(place)
        known = (*KINDS, "one_of", *self.templates)
        if not isinstance(item, dict):
            raise InputError(where, "not a block", found=item, accepted="{kind: {fields}}")
        kinds = [key for key in item if key not in ("repeat", "label")]
        if len(kinds) != 1:
            raise InputError(where, "a block has exactly one kind", found=kinds, accepted=", ".join(known))
        kind = kinds[0]
        if kind not in known:
            raise InputError(where, f"unknown block kind '{kind}'{suggestion(kind, known)}", accepted=", ".join(known))
        repeat = Placed(item.get("repeat"), (*place, "repeat"))
        if kind == "one_of":
            return kind, item[kind], None if repeat.value is None else repeat
        fields = {} if item[kind] is None else item[kind]
        if not isinstance(fields, dict):
            raise InputError(self.document.where((*place, kind)), "not fields", found=fields)
        placed = {name: Placed(value, (*place, kind, name)) for name, value in fields.items()}
        if "repeat" in item and "repeat" in placed:
            raise InputError(
                where, "'repeat' stands twice, beside the fields and among them", accepted="one of the two"
            )
        repeat = placed.pop("repeat", repeat)
        return kind, placed, None if repeat.value is None else repeat

    def _node(
        self, kind: str, fields: Any, place: tuple, path: str, scope: Mapping[str, Quantity], first: bool
    ) -> Node:
        self.count += 1
        if self.count > MAX_NODES:
            raise InputError(self.document.where(place), "too many blocks", accepted=f"at most {MAX_NODES}")
        if kind == "one_of":
            return self._one_of(fields, place, path, scope, first)
        fields = self._of_repetition(fields, first)
        if kind in self.templates:
            return self._template(kind, fields, place, path, scope)
        known = KINDS[kind].fields
        parsed: dict[str, Quantity | Expression] = {}
        for name, (value, at, _) in fields.items():
            if name not in known:
                raise InputError(
                    self.document.where(at), f"unknown field '{name}' of {kind}{suggestion(name, known)}",
                    accepted=", ".join(known),
                )  # fmt: skip
            parsed[name] = self.quantity(value, at, known[name], f"{path}.{name}", scope)
        for name, field in known.items():
            if name not in parsed and field.default is REQUIRED:
                raise InputError(self.document.where((*place, kind)), f"'{name}' is missing", accepted=field.accepts)
        return Block(path, kind, parsed, scope, self.document.where((*place, kind)))

    def _each(self, kind: str, fields: Any, count: int) -> list[Any]:
        """The fields of every repetition."""
        if kind == "one_of" or "each" not in fields:
            return [fields] * count
        each, at, _ = fields["each"]
        own = self.mapping(each, at)
        for name, values in own.items():
            if not isinstance(values, list) or len(values) != count:
                accepted = f"a list of {count} values, one a repetition"
                raise InputError(self.document.where((*at, name)), "not accepted here", found=values, accepted=accepted)
        rest = {name: value for name, value in fields.items() if name != "each"}
        return [rest | {k: Placed(values[n], (*at, k, n), True) for k, values in own.items()} for n in range(count)]

    def _of_repetition(self, fields: Fields, first: bool) -> Fields:
        """`first` belongs to the first repetition, and a `stride` that `each` does not give to every one."""
        fields = {name: field for name, field in fields.items() if first or field.own or name != "stride"}
        override = fields.pop("first", Placed({}, ()))
        own = self.mapping(override.value, override.place)
        if first:
            fields.update({name: Placed(value, (*override.place, name)) for name, value in own.items()})
        return fields

    def _one_of(self, items: Any, place: tuple, path: str, scope: Mapping[str, Quantity], first: bool) -> Node:
        where = self.document.where((*place, "one_of"))
        if not isinstance(items, list) or not items:
            raise InputError(where, "not a list of blocks", found=items)
        twice = next((n for n, item in enumerate(items) if item in items[:n]), None)
        if twice is not None:
            at = self.document.where((*place, "one_of", twice))
            raise InputError(at, "an option stands twice", found=items[twice])
        kinds = [self._kind(item, (*place, "one_of", n)) for n, item in enumerate(items)]
        if any(repeat is not None for _, _, repeat in kinds):
            raise InputError(where, "'repeat' inside one_of", accepted="'repeat' beside one_of")
        labels = self._labels(items, [kind for kind, _, _ in kinds], (*place, "one_of"))
        if len(items) == 1:  # no choice, as a single option of a field is none
            return self._node(*kinds[0][:2], (*place, "one_of", 0), path, scope, first)
        choice = self.register(Choice(f"{path}.one_of", tuple(labels)), (*place, "one_of"))
        branches = [
            self._node(kind, fields, (*place, "one_of", n), f"{path}.{label}", scope, first)
            for n, ((kind, fields, _), label) in enumerate(zip(kinds, labels, strict=True))
        ]
        return OneOf(path, choice, tuple(branches), where)

    def _labels(self, items: list[dict[str, Any]], kinds: list[str], place: tuple) -> list[str]:
        """Of the options of a `one_of`, by default their kinds: parts of paths, so no two may be written alike."""
        names = [item.get("label", kind) for item, kind in zip(items, kinds, strict=True)]
        for n, (item, name) in enumerate(zip(items, names, strict=True)):
            if not isinstance(name, str) or not LABEL.fullmatch(name):
                at = self.document.where((*place, n, "label") if "label" in item else (*place, n))
                raise InputError(at, "not a plain word", found=name, accepted="a label of letters, digits, _ and -")
        given = [item["label"] for item in items if "label" in item]
        if len(set(given)) < len(given):
            raise InputError(self.document.where(place), "two options with one label", found=given)
        labels = [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]
        if len(set(labels)) < len(labels):
            raise InputError(self.document.where(place), "two options with one label", found=labels)
        return labels

    def _template(self, kind: str, arguments: Fields, place: tuple, path: str, scope: Mapping[str, Quantity]) -> Node:
        """The template's body with the arguments as `$names`; a missing stride is 1."""
        if kind in self.inside:
            chain = " -> ".join((*self.inside, kind))
            raise InputError(self.document.where(("templates", kind)), f"a template inside itself ({chain})")
        used = _names_in(self.templates[kind])
        for name, (_, at, _) in arguments.items():
            if name not in used:
                raise InputError(
                    self.document.where(at),
                    f"unknown argument '{name}' of template {kind}{suggestion(name, used)}",
                    accepted=", ".join(sorted(used - self.named)) or "none",
                )  # fmt: skip
        inner = dict(scope)
        for name, (value, at, _) in {"stride": Placed(1, (*place, kind)), **arguments}.items():
            bound = self.quantity(value, at, ANY, f"{path}.{name}", scope)
            if isinstance(bound, Expression):
                bound = bound.evaluate(self.lookup(scope, at))
            inner[name] = bound
        body = ("templates", kind)
        inner_kind, fields, repeat = self._kind(self.templates[kind], body)
        if repeat is not None or inner_kind in self.templates:
            raise InputError(self.document.where(body), "a template is one block or one_of, without 'repeat'")
        outer, self.inside = self.inside, (*self.inside, kind)
        node = self._node(inner_kind, fields, body, path, inner, True)
        self.inside = outer
        return node


def _names_in(value: Any) -> set[str]:
    """Every `$name` that the texts of a template's body mention, without the dollar."""
    if isinstance(value, str):
        return set(re.findall(r"\$([A-Za-z_]\w*)", value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for part in parts for name in _names_in(part)}
