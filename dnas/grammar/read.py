"""Files to spaces: the grammar of `search_spaces/*.yaml` and of exported architectures.

    name: tiny
    input: {channels: 3, classes: 10, resolution: {choices: [64, 96, 128]}}
    choices: {w2: {range: [16, 28, 4]}}                  # named: one choice wherever `$w2` stands
    templates: {tbs: {one_of: [{mbconv: {out: $out, stride: $stride}}, {skip: {out: $out, stride: $stride}}]}}
    trunk:
      - conv: {kernel: 3, stride: 2, out: 16, act: hswish}
      - mbconv: {repeat: {range: [1, 3, 1]}, stride: 2, out: $w2, kernel: {choices: [3, 5]}}
      - tbs: {out: {range: [24, 40, 8]}, stride: 2, repeat: 3}
    head:
      - pool: {}
      - linear: {out: $classes}
    where: ["$w2 % 8 == 0", {order: [mb4d, mb3d], of: trunk.4.*.one_of}]

* `repeat: n` writes a block n times, each repetition with choices of its own; `repeat: {range: ...}` is a prefix depth.
  `stride` belongs to the first repetition, and `first: {...}` overrides other fields there; `each: {expand: [4, 3]}`
  gives a field a value a repetition, and `$index` is the repetition's number, from 0.
* `choices` may name plain values, too. `where` states what must hold: a formula over names, or an order of options
  along a run of choices (`dnas.space.order`).
* A template's arguments are its fields: a choice given as an argument is one choice wherever the template uses it.
* `strategy: slimming` names the search algorithm used where the command line names none.
* A choice's name is its own (`choices:`) or the path of its field after repetition: `trunk.1.0.kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dnas.blocks import KINDS
from dnas.errors import InputError, suggestion
from dnas.files import Document, read_document
from dnas.space.expr import Expression, parse
from dnas.space.fields import REQUIRED, Field, NonNegative, Options, Positive
from dnas.space.order import matching, order_constraints
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Block, Node, OneOf, Space, Stage

TOP = ("name", "about", "strategy", "input", "choices", "templates", "trunk", "head", "where")
EXTRA = ("costs", "as_trained", "search", "training", "preprocessing", "choices_taken", "labels")
MAX_NODES = 2000
INDEX = "index"
"""The name under which a repetition finds its own number."""
_NAME = re.compile(r"[\w][\w .+()=,-]{0,99}")


def read_space(path: str | Path) -> Space:
    """Reads a space or an architecture; raises `InputError` naming file, line, place, value and what is accepted."""
    return _Reader(read_document(Path(path))).space()


def space_from_data(data: Any, source: str) -> Space:
    """A space from parsed data, as `read_space` from a file."""
    return _Reader(Document(source, data, {})).space()


def at_input(
    space: Space, *, channels: int | None = None, classes: int | None = None, side: int | None = None
) -> Space:
    """The same space, with the same choices, on other images: their channels, classes and largest side.

    Resolution options keep their ratio to the largest one; options that become equal stay separate options.
    """
    return _Reader(space.document, {"channels": channels, "classes": classes}, side).space()


class _Reader:
    """Reads one document. Choices are collected in the order in which they are met."""

    def __init__(self, document: Document, override: Mapping[str, int | None] | None = None, side: int | None = None):
        self.document = document
        self.override = {key: value for key, value in (override or {}).items() if value is not None}
        self.side = side
        self.choices: dict[str, Choice] = {}
        self.named: frozenset[str] = frozenset()
        self.templates: Mapping[str, Any] = {}
        self.inside: tuple[str, ...] = ()  # templates being read now, outermost first
        self.count = 0

    def space(self) -> Space:
        data = self._mapping(self.document.data, (), (*TOP, *EXTRA))
        for key in ("input", "trunk"):
            if key not in data:
                raise InputError(self.document.where(()), f"'{key}' is missing", accepted=", ".join(TOP))
        size = self._mapping(data["input"], ("input",), ("channels", "classes", "resolution")) | self.override
        name = data.get("name", _name_of_file(self.document.path))
        if not isinstance(name, str):
            raise InputError(self.document.where(("name",)), "not text", found=name)
        if not _NAME.fullmatch(name):
            # Names become file names, and stand in exported code.
            accepted = "letters, digits, spaces and . _ - + ( ) = , at most 100, a letter or digit first"
            raise InputError(self.document.where(("name",)), "not a name", found=name, accepted=accepted)
        scope: dict[str, Quantity] = {
            key: self._input(size.get(key, default), key)
            for key, default in (("channels", 3), ("classes", 1000), ("resolution", 224))
        }
        if self.side is not None:
            largest, side = scope["resolution"].max(), self.side
            scope["resolution"] = Quantity.combine(lambda r: max(1, round(r * side / largest)), scope["resolution"])
        for key, value in self._mapping(data.get("choices", {}), ("choices",)).items():
            place = ("choices", key)
            if key in scope:
                raise InputError(self.document.where(place), f"'{key}' is taken", accepted="another name")
            if key == INDEX:
                raise InputError(self.document.where(place), f"'{key}' is taken", accepted="another name")
            if isinstance(value, bool | int | float):
                scope[key] = Quantity.constant(value)
            elif isinstance(value, str):
                scope[key] = parse(value, self.document.where(place)).evaluate(self._lookup(scope, place))
            else:
                scope[key] = self._choice(value, place, key)
        self.named = frozenset((*scope, INDEX))
        self.templates = self._mapping(data.get("templates", {}), ("templates",))
        for key in self.templates:
            if key in KINDS or key == "one_of":
                raise InputError(self.document.where(("templates", key)), f"'{key}' is a block kind already")
        where = [(("where", n), entry) for n, entry in enumerate(self._list(data, "where"))]
        constraints = [self._constraint(e, place, scope) for place, e in where if not isinstance(e, dict)]
        nodes = self._items(data["trunk"], ("trunk",), scope) + self._items(data.get("head", []), ("head",), scope)
        constraints += [c for place, e in where if isinstance(e, dict) for c in self._order(e, place, nodes)]
        return Space(
            name, str(data.get("about", "")), self.document, scope["channels"].value, scope["classes"].value,
            scope["resolution"], tuple(self.choices.values()), tuple(nodes), tuple(constraints), self._strategy(data),
            {key: data[key] for key in EXTRA if key in data},
        )  # fmt: skip

    def _strategy(self, data: dict[str, Any]) -> str | None:
        """The name as it stands: which ones there are is the search's to say."""
        name = data.get("strategy")
        if name is not None and not isinstance(name, str):
            raise InputError(self.document.where(("strategy",)), "not text", found=name, accepted="name of a strategy")
        return name

    def _input(self, value: Any, key: str) -> Quantity:
        quantity = self._quantity(value, ("input", key), _INPUT[key], key, {})
        if isinstance(quantity, Expression):
            where = self.document.where(("input", key))
            raise InputError(where, "the input follows from no block", found=value, accepted=_INPUT[key].accepts)
        return quantity

    # Nodes ----------------------------------------------------------------------------------------------------------

    def _items(self, items: Any, place: tuple, scope: Mapping[str, Quantity]) -> list[Node]:
        if not isinstance(items, list):
            raise InputError(self.document.where(place), "not a list of blocks", found=items)
        return [n for i, item in enumerate(items) for n in self._item(item, (*place, i), f"{place[0]}.{i}", scope)]

    def _item(self, item: Any, place: tuple, path: str, scope: Mapping[str, Quantity]) -> list[Node]:
        """The nodes of one list entry: one, or one a repetition."""
        kind, fields, repeat = self._kind(item, place)
        if repeat is None:
            return [self._node(kind, fields, place, path, scope, True)]
        where = self.document.where((*place, kind, "repeat"))
        depth = self._quantity(repeat, (*place, kind, "repeat"), _REPEAT, f"{path}.repeat", scope)
        if isinstance(depth, Expression):
            raise InputError(where, "a number of repetitions cannot follow from the block", found=depth.text)
        most = depth.max()
        blocks = [
            self._node(kind, own, place, f"{path}.{n}", {**scope, INDEX: Quantity.constant(n)}, n == 0)
            for n, own in enumerate(self._each(kind, fields, place, most))
        ]
        least = depth.min()
        if least == most:
            return blocks
        return [*blocks[:least], Stage(path, tuple(blocks[least:]), depth - least, where)]

    def _kind(self, item: Any, place: tuple) -> tuple[str, Any, Any]:
        """Kind, fields and repetition of `{kind: {...}}`, beside or inside whose braces `repeat` may stand."""
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
        fields = item[kind]
        repeat = item.get("repeat")
        if kind != "one_of":
            fields = {} if fields is None else fields
            if not isinstance(fields, dict):
                raise InputError(self.document.where((*place, kind)), "not fields", found=fields)
            if "repeat" in fields:
                fields = dict(fields)
                repeat = fields.pop("repeat")
        return kind, fields, repeat

    def _node(
        self, kind: str, fields: Any, place: tuple, path: str, scope: Mapping[str, Quantity], first: bool
    ) -> Node:
        self.count += 1
        if self.count > MAX_NODES:
            raise InputError(self.document.where(place), "too many blocks", accepted=f"at most {MAX_NODES}")
        if kind == "one_of":
            return self._one_of(fields, place, path, scope, first)
        fields = self._of_repetition(fields, (*place, kind), first)
        if kind in self.templates:
            return self._template(kind, fields, place, path, scope)
        known = KINDS[kind].fields
        parsed: dict[str, Quantity | Expression] = {}
        for name, value in fields.items():
            at = (*place, kind, name)
            if name not in known:
                raise InputError(
                    self.document.where(at), f"unknown field '{name}' of {kind}{suggestion(name, known)}",
                    accepted=", ".join(known),
                )  # fmt: skip
            parsed[name] = self._quantity(value, at, known[name], f"{path}.{name}", scope)
        for name, field in known.items():
            if name not in parsed and field.default is REQUIRED:
                raise InputError(self.document.where((*place, kind)), f"'{name}' is missing", accepted=field.accepts)
        return Block(path, kind, parsed, scope, self.document.where((*place, kind)))

    def _each(self, kind: str, fields: Any, place: tuple, count: int) -> list[Any]:
        """The fields of every repetition."""
        if kind == "one_of" or "each" not in fields:
            return [fields] * count
        at = (*place, kind, "each")
        own = self._mapping(fields["each"], at)
        for name, values in own.items():
            if not isinstance(values, list) or len(values) != count:
                accepted = f"a list of {count} values, one a repetition"
                raise InputError(self.document.where((*at, name)), "not accepted here", found=values, accepted=accepted)
        rest = {name: value for name, value in fields.items() if name != "each"}
        return [rest | {name: values[n] for name, values in own.items()} for n in range(count)]

    def _of_repetition(self, fields: dict[str, Any], place: tuple, first: bool) -> dict[str, Any]:
        """`stride` and `first` belong to the first repetition."""
        fields = dict(fields)
        override = self._mapping(fields.pop("first", {}), (*place, "first"))
        if first:
            fields.update(override)
        else:
            fields.pop("stride", None)
            fields.pop("padding", None)
        return fields

    def _one_of(self, items: Any, place: tuple, path: str, scope: Mapping[str, Quantity], first: bool) -> Node:
        where = self.document.where((*place, "one_of"))
        if not isinstance(items, list) or not items:
            raise InputError(where, "not a list of blocks", found=items)
        kinds = [self._kind(item, (*place, "one_of", n)) for n, item in enumerate(items)]
        for n, item in enumerate(items):
            if not isinstance(item.get("label", ""), str):
                at = self.document.where((*place, "one_of", n, "label"))
                raise InputError(at, "not text", found=item["label"], accepted="a name of this option")
        names = [item.get("label", kind) for item, (kind, _, _) in zip(items, kinds, strict=True)]
        labels = [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]
        if len(set(labels)) < len(labels):
            raise InputError(where, "two options with one label", found=labels)
        choice = self._register(Choice(f"{path}.one_of", tuple(labels)), where)
        branches = []
        for n, ((kind, fields, repeat), label) in enumerate(zip(kinds, labels, strict=True)):
            if repeat is not None:
                raise InputError(where, "'repeat' inside one_of", accepted="'repeat' beside one_of")
            branches.append(self._node(kind, fields, (*place, "one_of", n), f"{path}.{label}", scope, first))
        return OneOf(path, choice, tuple(branches), where)

    def _template(
        self, kind: str, arguments: dict[str, Any], place: tuple, path: str, scope: Mapping[str, Quantity]
    ) -> Node:
        """The template's body with the arguments as `$names`; a missing stride is 1."""
        if kind in self.inside:
            chain = " -> ".join((*self.inside, kind))
            raise InputError(self.document.where(("templates", kind)), f"a template inside itself ({chain})")
        used = _names_in(self.templates[kind])
        for name in arguments:
            if name not in used:
                raise InputError(
                    self.document.where((*place, kind, name)),
                    f"unknown argument '{name}' of template {kind}{suggestion(name, used)}",
                    accepted=", ".join(sorted(used - self.named)) or "none",
                )  # fmt: skip
        inner = dict(scope)
        for name, value in {"stride": 1, **arguments}.items():
            bound = self._quantity(value, (*place, kind, name), _ANY, f"{path}.{name}", scope)
            if isinstance(bound, Expression):
                bound = bound.evaluate(self._lookup(scope, (*place, kind, name)))
            inner[name] = bound
        body = ("templates", kind)
        inner_kind, fields, repeat = self._kind(self.templates[kind], body)
        if repeat is not None or inner_kind in self.templates:
            raise InputError(self.document.where(body), "a template is one block or one_of, without 'repeat'")
        outer, self.inside = self.inside, (*self.inside, kind)
        node = self._node(inner_kind, fields, body, path, inner, True)
        self.inside = outer
        return node

    # Values ---------------------------------------------------------------------------------------------------------

    def _quantity(
        self, value: Any, place: tuple, field: Field, name: str, scope: Mapping[str, Quantity]
    ) -> Quantity | Expression:
        """A field's value: constant, choice, or formula (evaluated now unless it reads the block's own fields)."""
        where = self.document.where(place)
        if isinstance(value, dict):
            if not field.searchable:
                raise InputError(where, "cannot be searched", found=value, accepted=field.accepts)
            return self._checked(self._choice(value, place, name), field, where)
        if (
            isinstance(value, str)
            and (value.startswith("$") or field.type is not str)
            and field is not _ANY
            or (field is _ANY and isinstance(value, str) and "$" in value)
        ):
            expression = parse(value, where)
            if all(n.startswith("$") for n in expression.names):
                quantity = self._checked(expression.evaluate(self._lookup(scope, place)), field, where)
                if not field.searchable and not quantity.is_constant:
                    raise InputError(where, "cannot be searched", found=value, accepted=field.accepts)
                return quantity
            if not field.searchable:
                raise InputError(where, "cannot follow from the block", found=value, accepted=field.accepts)
            for n in expression.names:
                if n.startswith("$"):
                    self._lookup(scope, place)(n)
            return expression
        return self._checked(Quantity.constant(value), field, where)

    def _checked(self, quantity: Quantity, field: Field, where: str) -> Quantity:
        if field is _ANY:
            return quantity
        return Quantity.combine(lambda v: field.validated(v, where), quantity) if quantity.is_constant else Quantity(
            quantity.over, Quantity.combine(lambda v: field.validated(v, where), quantity).table_over(quantity.over)
        )  # fmt: skip

    def _choice(self, value: Any, place: tuple, name: str) -> Quantity:
        where = self.document.where(place)
        try:
            options = msgspec.convert(value, Options, strict=True).options(where)
        except msgspec.ValidationError as error:
            accepted = "{choices: [...]} or {range: [low, high, step]}"
            unknown = [key for key in value if key not in Options.__struct_fields__]
            if unknown:
                near = suggestion(str(unknown[0]), Options.__struct_fields__)
                problem = f"not a choice: unknown key '{unknown[0]}'{near}"
                raise InputError(where, problem, found=value, accepted=accepted) from None
            raise InputError(where, f"not a choice: {error}", found=value, accepted=accepted) from None
        if len(options) == 1:
            return Quantity.constant(options[0])
        return Quantity.of(self._register(Choice(name, options), where))

    def _register(self, choice: Choice, where: str) -> Choice:
        if choice.name in self.choices:
            raise InputError(where, f"two choices with the name '{choice.name}'")
        self.choices[choice.name] = choice
        return choice

    def _lookup(self, scope: Mapping[str, Quantity], place: tuple):
        def lookup(name: str) -> Quantity:
            known = [f"${n}" for n in scope]
            if name not in known:
                raise InputError(
                    self.document.where(place), f"unknown name '{name}'{suggestion(name, known)}",
                    accepted=", ".join(known),
                )  # fmt: skip
            return scope[name[1:]]

        return lookup

    def _constraint(self, text: Any, place: tuple, scope: Mapping[str, Quantity]) -> Quantity:
        where = self.document.where(place)
        if not isinstance(text, str):
            raise InputError(where, "not a formula", found=text)
        formula, lookup = parse(text, where), self._lookup(scope, place)
        result = Quantity.combine(lambda v: int(bool(v)), formula.evaluate(lookup))
        if not np_any(result):
            known = {name: lookup(name) for name in formula.names}
            values = ", ".join(f"{name} is {q.value}" for name, q in known.items() if q.is_constant)
            problem = f"does not hold: {values}" if values else "no architecture satisfies this"
            raise InputError(where, problem, found=text)
        return result

    def _order(self, entry: dict[str, Any], place: tuple, nodes: list[Node]) -> list[Quantity]:
        """`{order: [a, b], of: pattern}`."""
        where = self.document.where(place)
        entry = self._mapping(entry, place, ("order", "of"))
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

    def _mapping(self, value: Any, place: tuple, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
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

    def _list(self, data: dict[str, Any], key: str) -> list[Any]:
        value = data.get(key) or []
        if not isinstance(value, list):
            raise InputError(self.document.where((key,)), "not a list", found=value)
        return value


def _name_of_file(path: str) -> str:
    """The name of a space whose file does not say: the file's, without what a name cannot hold."""
    kept = re.sub(r"[^\w .+()=,-]", "_", Path(path).stem)[:100].lstrip(" .+()=,-")
    return kept or "unnamed"


def _names_in(value: Any) -> set[str]:
    """Every `$name` that the texts of a template's body mention, without the dollar."""
    if isinstance(value, str):
        return set(re.findall(r"\$([A-Za-z_]\w*)", value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for part in parts for name in _names_in(part)}


def np_any(quantity: Quantity) -> bool:
    return bool(quantity.table.any())


_REPEAT = Field(NonNegative, "an integer from 0 to 200, or a range", "repetitions", check=lambda n: n <= 200)
_ANY = Field(object, "a value or a choice", "argument of a template")
_INPUT = {
    "channels": Field(Positive, "an integer from 1", "image channels", searchable=False),
    "classes": Field(Positive, "an integer from 1", "classes", searchable=False),
    "resolution": Field(Positive, "an integer from 1 to 4096, or a choice", "image side", check=lambda n: n <= 4096),
}
