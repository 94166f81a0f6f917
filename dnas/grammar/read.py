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
  `stride` belongs to the first repetition, all other fields to every one; `first: {padding: 0}` overrides fields of the
  first; `each: {stride: [1, 2, 2]}` gives a field, `stride` too, a value a repetition, and `$index` is the repetition's
  number, from 0.
* `choices` may name plain values, too. `where` states what must hold: a formula over names, or an order of options
  along a run of choices (`dnas.space.order`).
* A template's arguments are its fields: a choice given as an argument is one choice wherever the template uses it.
* `keep: {trunk.1.expand: [0, 2, 5]}` says which channels an operator of a pruned architecture has left; whatever reads
  them is as narrow (`dnas.graph.Graph.keeping`). `keep_tokens: {trunk.3: [0, 4, 7]}` says which tokens go on after a
  block of a slimmed one (`dnas.graph.Builder.kept_tokens`), numbered as before any were dropped.
* `quantization: {trunk.1.expand: {bits: 8, weights: per-channel}, trunk.1.expand_norm: {result: 8}}` says of how many
  bits the factors of a product are, and results (`dnas.space.quantized`); the steps stand with the weights.
* `gates: [trunk.1.expand_act]` puts a learned factor a channel behind an operator, which says how much the channel is
  worth before some are left out (`dnas.graph.Graph.gated`).
* `strategy: slimming` names the search algorithm used where the command line names none.
* `recipe: {lr: {log_range: [0.02, 0.5, 7]}, mixup: {choices: [0, 0.2]}}` says which trainings a joint search tries
  (`dnas.train.recipe`); no other search reads it.
* A choice's name is its own (`choices:`) or the path of its field after repetition: `trunk.1.0.kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from dnas.blocks import KINDS
from dnas.errors import InputError
from dnas.files import Document, read_document
from dnas.grammar.nodes import INDEX, LABEL, Nodes
from dnas.grammar.values import EXTRA
from dnas.space.expr import Expression, parse
from dnas.space.fields import MOST, Field, Positive
from dnas.space.quantity import Quantity
from dnas.space.quantized import LEAST_BITS, MOST_BITS, Quantized
from dnas.space.space import Space

TOP = (
    "name", "about", "strategy", "input", "choices", "templates", "trunk", "head", "where", "keep", "keep_tokens",
    "quantization", "gates", "recipe",
)  # fmt: skip
WEIGHTS = ("per-tensor", "per-channel")
"""What one step of quantised weights serves."""
_NAMED = re.compile(r"[A-Za-z_]\w*")
"""What `$name` can name."""
_NAME = re.compile(r"[\w][\w .+()=,-]{0,99}")

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

    Raises `InputError` for a number of classes that is none.
    """
    if classes is not None and not 1 <= classes <= MOST:
        raise InputError("--classes", "not accepted here", found=classes, accepted=f"an integer from 1 to {MOST:,}")
    return _Reader(space.document, {"channels": channels, "classes": classes}, side).space()


class _Reader(Nodes):
    """Reads one document."""

    def __init__(self, document: Document, override: Mapping[str, int | None] | None = None, side: int | None = None):
        super().__init__(document)
        self.override = {key: value for key, value in (override or {}).items() if value is not None}
        self.side = side

    def space(self) -> Space:
        """The whole space."""
        data = self.mapping(self.document.data, (), (*TOP, *EXTRA))
        for key in ("input", "trunk"):
            if key not in data:
                raise InputError(self.document.where(()), f"'{key}' is missing", accepted=", ".join(TOP))
        name, scope = self._name(data), self._size(data["input"])
        self._named_values(data.get("choices", {}), scope)
        self.named = frozenset((*scope, INDEX))
        self.templates = self.mapping(data.get("templates", {}), ("templates",))
        for key in self.templates:
            where = self.document.where(("templates", key))
            if key in KINDS or key == "one_of":
                raise InputError(where, f"'{key}' is a block kind already")
            if not LABEL.fullmatch(key):
                raise InputError(where, "not a plain word", found=key, accepted="letters, digits, _ and -")
        where = [(("where", n), entry) for n, entry in enumerate(self.listed(data, "where"))]
        constraints = [self.constraint(e, place, scope) for place, e in where if not isinstance(e, dict)]
        nodes = self.items(data["trunk"], ("trunk",), scope) + self.items(data.get("head", []), ("head",), scope)
        constraints += [c for place, e in where if isinstance(e, dict) for c in self.order(e, place, nodes)]
        return Space(
            name, str(data.get("about", "")), self.document, scope["channels"].value, scope["classes"].value,
            scope["resolution"], tuple(self.choices.values()), tuple(nodes), tuple(constraints), self._strategy(data),
            self._keep(data, "keep", "channels"), self._keep(data, "keep_tokens", "tokens that a block keeps"),
            self._quantization(data), self._gates(data), self.mapping(data.get("recipe"), ("recipe",)),
            {key: data[key] for key in EXTRA if key in data}, self.places,
        )  # fmt: skip

    def _name(self, data: dict[str, Any]) -> str:
        """The space's, by default its file's."""
        name = data.get("name", _name_of_file(self.document.path))
        if not isinstance(name, str):
            raise InputError(self.document.where(("name",)), "not text", found=name)
        if not _NAME.fullmatch(name):
            # Names become file names, and stand in exported code.
            accepted = "letters, digits, spaces and . _ - + ( ) = , at most 100, a letter or digit first"
            raise InputError(self.document.where(("name",)), "not a name", found=name, accepted=accepted)
        return name

    def _size(self, data: Any) -> dict[str, Quantity]:
        """Channels, classes and resolution of the input, by name."""
        size = self.mapping(data, ("input",), tuple(INPUT)) | self.override
        defaults = {"channels": 3, "classes": 1000, "resolution": 224}
        found = {key: self._input(size.get(key, default), key) for key, default in defaults.items()}
        if self.side is not None:
            largest, side = found["resolution"].max(), self.side
            if side != largest and "keep_tokens" in self.document.data:
                where = self.document.where(("keep_tokens",))
                raise InputError(where, f"tokens of images of side {largest} are kept, not of side {side}")
            found["resolution"] = Quantity.combine(lambda r: max(1, round(r * side / largest)), found["resolution"])
        return found

    def _named_values(self, data: Any, scope: dict[str, Quantity]) -> None:
        """Adds the file's named choices and values to those that are known."""
        for key, value in self.mapping(data, ("choices",)).items():
            place = ("choices", key)
            if not _NAMED.fullmatch(key):
                accepted = "letters, digits and _, no digit first"
                raise InputError(self.document.where(place), "not a name for a choice", found=key, accepted=accepted)
            if key in scope or key == INDEX:
                raise InputError(self.document.where(place), f"'{key}' is taken", accepted="another name")
            if isinstance(value, bool | int | float):
                scope[key] = Quantity.constant(value)
            elif isinstance(value, str):
                scope[key] = parse(value, self.document.where(place)).evaluate(self.lookup(scope, place))
            else:
                scope[key] = self.choice(value, place, key)

    def _keep(self, data: dict[str, Any], section: str, what: str) -> dict[str, tuple[int, ...]]:
        """Which entries a pruned architecture has left, by path; whether there are such paths is the graph's to say."""
        found = self.mapping(data.get(section, {}), (section,))
        if found and self.choices:
            raise InputError(self.document.where((section,)), "a space with choices cannot be pruned before a search")
        for path, entries in found.items():
            whole = isinstance(entries, list) and all(type(n) is int and n >= 0 for n in entries)
            if not whole or not entries or any(a >= b for a, b in pairwise(entries)):
                accepted = "a list of whole numbers from 0, rising"
                raise InputError(self.document.where((section, path)), f"not {what}", found=entries, accepted=accepted)
        return {path: tuple(entries) for path, entries in found.items()}

    def _quantization(self, data: dict[str, Any]) -> dict[str, Quantized]:
        """How operators are quantised; whether there are such operators is the graph's to say."""
        found = self.mapping(data.get("quantization", {}), ("quantization",))
        if found and self.choices:
            where = self.document.where(("quantization",))
            raise InputError(where, "a space with choices cannot be quantised before a search")
        return {path: self._quantized(entry, ("quantization", path)) for path, entry in found.items()}

    def _quantized(self, data: Any, place: tuple) -> Quantized:
        found = self.mapping(data, place, ("bits", "weights", "result"))
        for key in ("bits", "result"):
            n = found.get(key, LEAST_BITS)
            if type(n) is not int or not LEAST_BITS <= n <= MOST_BITS:
                accepted = f"a whole number from {LEAST_BITS} to {MOST_BITS}"
                raise InputError(self.document.where((*place, key)), "not bits", found=n, accepted=accepted)
        weights = found.get("weights", "per-tensor")
        if weights not in WEIGHTS:
            accepted = ", ".join(WEIGHTS)
            raise InputError(self.document.where((*place, "weights")), "unknown", found=weights, accepted=accepted)
        if not found or ("weights" in found and "bits" not in found):
            raise InputError(self.document.where(place), "'bits' is missing", accepted="bits, or result")
        return Quantized(found.get("bits"), weights == WEIGHTS[1], found.get("result"))

    def _gates(self, data: dict[str, Any]) -> tuple[str, ...]:
        """Behind which operators gates stand; whether there are such operators is the graph's to say."""
        found = self.listed(data, "gates")
        if found and self.choices:
            raise InputError(self.document.where(("gates",)), "a space with choices has no gates of single channels")
        for n, path in enumerate(found):
            if not isinstance(path, str) or path in found[:n]:
                accepted = "paths of operators, each once"
                raise InputError(self.document.where(("gates", n)), "not a path", found=path, accepted=accepted)
        return tuple(found)

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


def _name_of_file(path: str) -> str:
    """The name of a space whose file does not say: the file's, without what a name cannot hold."""
    kept = re.sub(r"[^\w .+()=,-]", "_", Path(path).stem)[:100].lstrip(" .+()=,-")
    return kept or "unnamed"
