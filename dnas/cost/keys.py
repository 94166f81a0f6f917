"""Names of blocks in latency tables: one line a person can read, the same for every program that writes it.

    mbconv side=16 in=16 out=24 kernel=5 stride=2 hidden=48 se=1 se_hidden=16

A key has the kind, the sizes of the input (`dnas.ops.sizes`), and the fields an exported architecture would state
(`Field.written`, `part_of`, `lasts`), as the block takes them (`BlockUse.effective`): defaults are left out, so a field
that is added to a kind later changes no key.
A table may spell a key otherwise (defaults written out, another order); it is read by `walked_keys` and spelt anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dnas.blocks import KINDS
from dnas.errors import InputError, UserError, suggestion
from dnas.graph import BlockUse, Builder, Record
from dnas.graph.parts import blocks_of, nodes_of
from dnas.ops.sizes import FIRST, IN, feature_of, is_size, is_width
from dnas.space.expr import parse
from dnas.space.fields import REQUIRED, Field, Formula
from dnas.space.quantity import Assignment, Choice, Quantity, shape_of, union
from dnas.space.space import Block

MAX_KEY = 400


def block_keys(use: BlockUse) -> Quantity:
    """The key of a block for every joint option of the choices it depends on."""
    sizes = use.sizes_in
    known = {**use.effective, **sizes}
    tokens = [Quantity.combine(lambda v, n=n: f" {n}={v}", size) for n, size in sizes.items()]
    for name, field in KINDS[use.kind].fields.items():
        if field.written != "never" and field.lasts:
            tokens.append(_token(name, field, use, known))
    over = union(tokens)
    table: Any = np.full([1] * len(over), use.kind, dtype=object)
    for token in tokens:
        table = table + token.table_over(over).astype(object)
    return Quantity(over, np.broadcast_to(table, shape_of(over)))


def key_at(use: BlockUse, assignment: Assignment) -> str:
    """The key of a block where each choice takes the option of the given index."""
    return block_keys(use).at(assignment)


def _token(name: str, field: Field, use: BlockUse, known: dict[str, Quantity]) -> Quantity:
    """` name=value`, or nothing where the value goes without saying."""
    value = use.effective[name]
    present = Quantity.constant(1) if field.part_of is None else use.fields[field.part_of]
    default: Any = REQUIRED
    if field.written == "changed":
        default = field.default
        if isinstance(default, Formula):
            default = parse(default.text, use.path).evaluate(known.__getitem__)

    def spelt(v: Any, d: Any, present: Any) -> str:
        return f" {name}={int(v) if isinstance(v, bool) else v}" if present and (d is REQUIRED or v != d) else ""

    return Quantity.combine(spelt, value, default, present)


@dataclass(frozen=True, eq=False)
class Walked:
    """A block by itself: its use, and the operators it has (conditions of the network around it left out)."""

    use: BlockUse
    records: tuple[Record, ...]

    @property
    def operators(self) -> Quantity:
        """How many operators it has: 0 for an identity, which takes no time."""
        total = Quantity.constant(0)
        for record in filter(lambda r: r.works, self.records):
            total = total + record.given.joint()
        return total


def walk(use: BlockUse) -> Walked:
    """The block of a space by itself, with paths that begin in it."""
    around = len(use.conditions)
    nodes = (
        replace(node, path=node.path.removeprefix(use.path), conditions=node.conditions[around:])
        for node in nodes_of(use.parts)
    )
    return Walked(use, tuple(record for node in nodes for record in node.records))


def walked_keys(keys: Sequence[str], where: str) -> Iterator[tuple[np.ndarray, Walked]]:
    """The blocks that keys name, in batches: positions in `keys`, and one walk in which a choice picks among them.

    Args:
        keys: any spellings.
        where: what to name in messages, in front of the key.

    Raises `InputError` naming the key for an unknown kind or field, a missing field or a value not accepted.
    """
    groups: dict[tuple, list[int]] = {}
    parsed = []
    for position, key in enumerate(keys):
        kind, values = parse_key(key, f"{where}: {key}")
        fixed = tuple((n, v) for n, v in values.items() if n in KINDS[kind].fields and not _searchable(kind, n))
        groups.setdefault((kind, tuple(values), fixed), []).append(position)
        parsed.append(values)
    for (kind, names, _), positions in groups.items():
        yield from _walked(kind, names, {p: parsed[p] for p in positions}, keys, where)


def _walked(
    kind: str, names: Sequence[str], rows: dict[int, dict[str, Any]], keys: Sequence[str], where: str
) -> Iterator[tuple[np.ndarray, Walked]]:
    """Blocks of one kind and form by their positions, in one walk if they can share it.

    Where they cannot (windows on maps of several sides), those on inputs alike but for channels walk together, and
    where not even these can (grouped convolutions of several widths), each for itself.
    """
    alone = len(rows) == 1
    try:
        walked = _walk_batch(kind, names, list(rows.values()), f"{where}: {keys[min(rows)]}" if alone else where)
    except UserError:
        if alone:
            raise
    else:
        yield np.array(list(rows)), walked
        return
    places = [name for name in names if is_size(name) and not is_width(name)]
    lots: dict[tuple, dict[int, dict[str, Any]]] = {}
    for position, row in rows.items():
        lots.setdefault(tuple(row[name] for name in places), {})[position] = row
    each = [{position: row} for position, row in rows.items()]
    for lot in lots.values() if len(lots) > 1 else each:
        yield from _walked(kind, names, lot, keys, where)


def _walk_batch(kind: str, names: Sequence[str], rows: list[dict[str, Any]], where: str) -> Walked:
    over = (Choice("entry", tuple(range(len(rows)))),)
    columns = {}
    for name in names:
        values = [row[name] for row in rows]
        same = len(set(values)) == 1
        columns[name] = Quantity.constant(values[0]) if same else Quantity(over, _column(values))
    sizes = {name: columns.pop(name) for name in names if is_size(name)}
    try:
        x = feature_of(sizes)
    except UserError as error:
        raise InputError(where, str(error)) from error
    builder = Builder()
    builder.node(Block("", kind, columns, {}, where), x)
    return walk(next(blocks_of(builder.parts)))


def _column(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=object) if isinstance(values[0], str) else np.array(values)


def parse_key(key: str, where: str) -> tuple[str, dict[str, Any]]:
    """Kind and values of a key, in one order whatever its spelling; raises `InputError` at `where`."""
    if len(key) > MAX_KEY:
        raise InputError(where[:200], f"a block name of {len(key)} characters", accepted=f"at most {MAX_KEY}")
    kind, *tokens = key.split() or [""]
    if kind not in KINDS:
        raise InputError(where, f"unknown block kind '{kind}'{suggestion(kind, KINDS)}", accepted=", ".join(KINDS))
    known = (*FIRST, *KINDS[kind].fields)
    given: dict[str, str] = {}
    for token in tokens:
        name, equals, text = token.partition("=")
        if not equals:
            raise InputError(where, f"'{token}' is not name=value")
        if name not in known and not is_size(name):
            raise InputError(
                where, f"unknown field '{name}' of {kind}{suggestion(name, known)}", accepted=", ".join(known)
            )
        if name in given:
            raise InputError(where, f"the field '{name}' stands twice")
        given[name] = text
    for name in (IN, *KINDS[kind].fields):
        if name not in given and (name == IN or KINDS[kind].fields[name].default is REQUIRED):
            raise InputError(where, f"'{name}' is missing")
    order = (*FIRST, *sorted(given.keys() - set(known)), *KINDS[kind].fields)
    return kind, {name: _parsed(kind, name, given[name], where) for name in order if name in given}


def _parsed(kind: str, name: str, text: str, where: str) -> Any:
    field = KINDS[kind].fields.get(name)
    if field is not None and field.type is str:
        return text
    if field is not None and field.type is bool:
        flags = {"0": False, "1": True, "false": False, "true": True}
        if text not in flags:
            raise InputError(where, f"not accepted for '{name}'", found=text, accepted="0 or 1")
        return flags[text]
    try:
        value = float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        raise InputError(where, f"not a number for '{name}'", found=text) from None
    if is_size(name) and not (isinstance(value, int) and 1 <= value <= 1_000_000):
        raise InputError(where, f"not accepted for '{name}'", found=text, accepted="an integer from 1 to 1,000,000")
    if not abs(value) <= 1_000_000:
        raise InputError(where, f"not accepted for '{name}'", found=text, accepted="a number up to 1,000,000")
    return value


def _searchable(kind: str, name: str) -> bool:
    field = KINDS[kind].fields[name]
    return field.searchable


def canonical(keys: Sequence[str], where: str) -> list[str]:
    """The keys in the spelling of `block_keys`."""
    result = [""] * len(keys)
    for positions, walked in walked_keys(keys, where):
        spelt = block_keys(walked.use)
        table = np.broadcast_to(spelt.table.reshape(-1), len(positions)).tolist()
        for position, key in zip(positions.tolist(), table, strict=True):
            result[position] = key
    return result
