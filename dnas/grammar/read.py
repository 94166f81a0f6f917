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

from dnas.blocks import KINDS
from dnas.errors import InputError, suggestion
from dnas.files import Document, read_document
from dnas.grammar.values import ANY, EXTRA, Values
from dnas.space.expr import Expression, parse
from dnas.space.fields import REQUIRED, Field, NonNegative, Positive
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Block, Node, OneOf, Space, Stage

TOP = ("name", "about", "strategy", "input", "choices", "templates", "trunk", "head", "where")
MAX_NODES = 2000
INDEX = "index"
"""The name under which a repetition finds its own number."""
_NAME = re.compile(r"[\w][\w .+()=,-]{0,99}")

REPEAT = Field(NonNegative, "an integer from 0 to 200, or a range", "repetitions", check=lambda n: n <= 200)
INPUT = {
    "channels": Field(Positive, "an integer from 1", "image channels", searchable=False),
    "classes": Field(Positive, "an integer from 1", "classes", searchable=False),
    "resolution": Field(Positive, "an integer from 1 to 4096, or a choice", "image side", check=lambda n: n <= 4096),
}


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


class _Reader(Values):
    """Reads one document."""

    def __init__(self, document: Document, override: Mapping[str, int | None] | None = None, side: int | None = None):
        super().__init__(document)
        self.override = {key: value for key, value in (override or {}).items() if value is not None}
        self.side = side
        self.named: frozenset[str] = frozenset()
        self.templates: Mapping[str, Any] = {}
        self.inside: tuple[str, ...] = ()  # templates being read now, outermost first
        self.count = 0

    def space(self) -> Space:
        data = self.mapping(self.document.data, (), (*TOP, *EXTRA))
        for key in ("input", "trunk"):
            if key not in data:
                raise InputError(self.document.where(()), f"'{key}' is missing", accepted=", ".join(TOP))
        size = self.mapping(data["input"], ("input",), ("channels", "classes", "resolution")) | self.override
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
        for key, value in self.mapping(data.get("choices", {}), ("choices",)).items():
            place = ("choices", key)
            if key in scope:
                raise InputError(self.document.where(place), f"'{key}' is taken", accepted="another name")
            if key == INDEX:
                raise InputError(self.document.where(place), f"'{key}' is taken", accepted="another name")
            if isinstance(value, bool | int | float):
                scope[key] = Quantity.constant(value)
            elif isinstance(value, str):
                scope[key] = parse(value, self.document.where(place)).evaluate(self.lookup(scope, place))
            else:
                scope[key] = self.choice(value, place, key)
        self.named = frozenset((*scope, INDEX))
        self.templates = self.mapping(data.get("templates", {}), ("templates",))
        for key in self.templates:
            if key in KINDS or key == "one_of":
                raise InputError(self.document.where(("templates", key)), f"'{key}' is a block kind already")
        where = [(("where", n), entry) for n, entry in enumerate(self.listed(data, "where"))]
        constraints = [self.constraint(e, place, scope) for place, e in where if not isinstance(e, dict)]
        nodes = self._items(data["trunk"], ("trunk",), scope) + self._items(data.get("head", []), ("head",), scope)
        constraints += [c for place, e in where if isinstance(e, dict) for c in self.order(e, place, nodes)]
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
        quantity = self.quantity(value, ("input", key), INPUT[key], key, {})
        if isinstance(quantity, Expression):
            where = self.document.where(("input", key))
            raise InputError(where, "the input follows from no block", found=value, accepted=INPUT[key].accepts)
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
        depth = self.quantity(repeat, (*place, kind, "repeat"), REPEAT, f"{path}.repeat", scope)
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
            parsed[name] = self.quantity(value, at, known[name], f"{path}.{name}", scope)
        for name, field in known.items():
            if name not in parsed and field.default is REQUIRED:
                raise InputError(self.document.where((*place, kind)), f"'{name}' is missing", accepted=field.accepts)
        return Block(path, kind, parsed, scope, self.document.where((*place, kind)))

    def _each(self, kind: str, fields: Any, place: tuple, count: int) -> list[Any]:
        """The fields of every repetition."""
        if kind == "one_of" or "each" not in fields:
            return [fields] * count
        at = (*place, kind, "each")
        own = self.mapping(fields["each"], at)
        for name, values in own.items():
            if not isinstance(values, list) or len(values) != count:
                accepted = f"a list of {count} values, one a repetition"
                raise InputError(self.document.where((*at, name)), "not accepted here", found=values, accepted=accepted)
        rest = {name: value for name, value in fields.items() if name != "each"}
        return [rest | {name: values[n] for name, values in own.items()} for n in range(count)]

    def _of_repetition(self, fields: dict[str, Any], place: tuple, first: bool) -> dict[str, Any]:
        """`stride` and `first` belong to the first repetition."""
        fields = dict(fields)
        override = self.mapping(fields.pop("first", {}), (*place, "first"))
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
        choice = self.register(Choice(f"{path}.one_of", tuple(labels)), where)
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
            bound = self.quantity(value, (*place, kind, name), ANY, f"{path}.{name}", scope)
            if isinstance(bound, Expression):
                bound = bound.evaluate(self.lookup(scope, (*place, kind, name)))
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
