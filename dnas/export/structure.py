"""What blocks have in common: blocks whose operators differ only in numbers become one class with parameters.

Code generators (`torch_code`, `flax_code`) turn a `BlockClass` into one class and a block into one call of it. Numbers
that are equal in all blocks of a class are written out; the others become parameters, named after the block's own
fields where they carry the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from dnas.errors import UserError
from dnas.export.trace import Network, NetworkBlock, Op, Weights, entries_taken, tokens_left, uneven_heads
from dnas.ops.tensor import HEADS, KEYS, QUERIES

ORDER = ("inputs", "hidden", "out", "kernel", "stride")
LEFT = (QUERIES, KEYS, "entries")
"""Of what some may have been dropped."""


@dataclass(frozen=True)
class Entries:
    """Places on an axis: a number that differs from block to block, where other lists belong to their form."""

    places: tuple[int, ...]

    def __repr__(self) -> str:
        return repr(self.places)


Numbers = Callable[[Op], dict[str, Any]]


@dataclass(frozen=True)
class Writer:
    """How a target writes an operator, by its kind.

    `numbers` are those that its text has; `expression(call)` is the text; `module(call)` makes what holds its
    parameters, and `leaves(op, weights)` are those, by their names there.
    """

    numbers: Numbers
    expression: Callable[[Call], str]
    module: Callable[[Call], str] | None = None
    leaves: Callable[[Op, Weights], dict[Any, np.ndarray]] | None = None
    helper: str | Callable[[Op], str] = ""
    """Text that the file has once, whatever the operator is like or by what it is like."""
    ends: bool = False
    """Whether it ends a statement, however often its result is read."""


Writers = Mapping[str, Writer]


@dataclass(frozen=True)
class Call:
    """An operator in the text of its block."""

    op: Op
    name: str
    """Of the operator in the block."""
    inputs: tuple[str, ...]
    numbers: Mapping[str, Any]
    """`Varying` ones, None for what follows from others, or plain values."""
    text: Mapping[str, str]
    """The same as text."""


def writer_of(writers: Writers, op: Op, block: NetworkBlock, target: str) -> Writer:
    """Raises `UserError` for an operator that the target cannot express."""
    if op.kind not in writers:
        raise UserError(f"{block.path}: {target} cannot express the operator '{op.kind}'")
    return writers[op.kind]


@dataclass(frozen=True)
class BlockClass:
    """One class of blocks.

    `slots[op index][attribute]` is a literal or the name of a parameter; `arguments[block path]` the parameters'
    values there.
    """

    name: str
    about: str
    blocks: tuple[NetworkBlock, ...]
    parameters: tuple[str, ...]
    slots: tuple[dict[str, Any], ...]
    arguments: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Varying:
    """A slot that is a parameter of the class."""

    name: str


def structure(network: Network, writers: Writers, target: str) -> dict[str, BlockClass]:
    """Block path -> its class; blocks that give what they read (identities) have none.

    Raises `UserError` for an operator without a writer.
    """
    groups: dict[Any, list[NetworkBlock]] = {}
    for block in network.blocks:
        if block.ops or block.inputs != block.outputs:
            own = [writer_of(writers, op, block, target) for op in block.ops]
            groups.setdefault(_signature(block, own), []).append(block)
    per_kind: dict[str, int] = {}
    result = {}
    for (kind, *_), blocks in groups.items():
        per_kind[kind] = per_kind.get(kind, 0) + 1
        name = "".join(part.capitalize() for part in kind.split("_"))
        name += str(per_kind[kind]) if per_kind[kind] > 1 else ""
        made = _block_class(name, blocks, writers)
        result.update({block.path: made for block in blocks})
    return result


def local(op: Op, block: NetworkBlock) -> str:
    """An operator's name inside its block: `se.reduce` of `trunk.3.se.reduce` as `se_reduce`."""
    return op.path[len(block.path) + 1 :].replace(".", "_")


def sizes(op: Op) -> dict[str, int]:
    """Channels before and after."""
    return {"inputs": op.inputs[0].channels, "out": op.output.channels}


def out(op: Op) -> dict[str, int]:
    """Channels after."""
    return {"out": op.output.channels}


def nothing(op: Op) -> dict[str, Any]:
    """No numbers."""
    return {}


def heads(op: Op) -> dict[str, int]:
    """Heads before and after."""
    return {"inputs": op.inputs[0].sizes[HEADS], "out": op.output.sizes[HEADS]}


def distances(op: Op) -> dict[str, int]:
    """Stride, heads, and the sides of the maps of queries and keys."""
    return own("stride")(op) | {"heads": op.output.sizes[HEADS]} | own("queries", "keys")(op)


def distance_numbers(op: Op) -> dict[str, Any]:
    """What tables of vectors for distances follow from; queries and keys that are left where some were dropped."""
    left = {name: None if entries is None else Entries(entries) for name, entries in tokens_left(op).items()}
    return own("side", "width", "reach", "before")(op) | left


def relative_values_numbers(op: Op) -> dict[str, Any]:
    """The same, and the channels of the result that are left where some were dropped."""
    entries = op.attributes["entries"]
    return distance_numbers(op) | {"entries": None if entries is None else Entries(entries)}


def distances_text(call: Call) -> str:
    """The arguments of such a table."""
    left = [f"{name}={call.text[name]}" for name in LEFT if call.numbers.get(name) is not None]
    return ", ".join([*(call.text[n] for n in ("side", "width", "reach", "before")), *left])


def taken_numbers(op: Op) -> dict[str, Any]:
    """Places of the entries that are taken of an axis."""
    return {"entries": Entries(entries_taken(op)[1])}


def attend_numbers(op: Op) -> dict[str, Any]:
    """Side of the map of queries; where heads are uneven, the width of the widest and the places of the channels."""
    uneven = uneven_heads(op)
    if uneven is None:
        return own("queries")(op) | {"uneven": False}
    return own("queries")(op) | {"uneven": True, "width": uneven.width, "places": Entries(uneven.places)}


def window_numbers(op: Op) -> dict[str, int]:
    """Heads, and what tables of distances within windows follow from."""
    return {"heads": op.output.sizes[HEADS]} | own("window", "side", "shift")(op)


def pairs(op: Op) -> dict[str, int]:
    """Heads, queries and keys."""
    return {name: op.output.sizes[name] for name in (HEADS, QUERIES, KEYS)}


def own(*names: str) -> Numbers:
    """Attributes of the operator, by name."""
    return lambda op: {name: op.attributes[name] for name in names}


def _signature(block: NetworkBlock, writers: Sequence[Writer]) -> tuple:
    """Kind, and operators with their wiring; of their numbers flags and lists alone, which belong to the form."""
    known = (*block.inputs, *(op.output for op in block.ops))
    place, ops = {value.index: n for n, value in enumerate(known)}, []
    for op, writer in zip(block.ops, writers, strict=True):
        form = tuple((name, v) for name, v in writer.numbers(op).items() if isinstance(v, bool | tuple))
        ops.append((op.kind, local(op, block), tuple(place[v.index] for v in op.inputs), form, tuple(op.output.sizes)))
    return block.kind, tuple(ops), tuple(place[value.index] for value in block.outputs)


def _block_class(name: str, blocks: Sequence[NetworkBlock], writers: Writers) -> BlockClass:
    """The class of blocks of one signature."""
    known: dict[tuple, str] = {}
    for field in (*ORDER, *blocks[0].fields):
        values = [b.input.channels if field == "inputs" else b.fields.get(field) for b in blocks]
        known.setdefault(_vector(values), field)
    slots: list[dict[str, Any]] = []
    found: dict[str, list[Any]] = {}
    for index, op in enumerate(blocks[0].ops):
        every = [writers[op.kind].numbers(block.ops[index]) for block in blocks]
        prefix = local(op, blocks[0]) or op.kind
        slots.append({number: _slot(number, every, prefix, known, found) for number in every[0]})
    order = sorted(found, key=lambda p: ORDER.index(p) if p in ORDER else len(ORDER))
    arguments = {block.path: {p: found[p][n] for p in order} for n, block in enumerate(blocks)}
    return BlockClass(name, _about(blocks[0]), tuple(blocks), tuple(order), tuple(slots), arguments)


def _slot(
    number: str, every: Sequence[dict[str, Any]], prefix: str, known: dict[tuple, str], found: dict[str, list[Any]]
) -> Any:
    """A number of an operator in all blocks of a class: itself, None where it follows from others, or a parameter.

    `known` names the parameter of what blocks have there; `found` gets those that are in use, with their values.
    """
    values = [one[number] for one in every]
    if len(set(map(repr, values))) == 1:
        return values[0]
    if number == "padding" and values == [one["kernel"] // 2 for one in every]:
        return None
    parameter = known.setdefault(_vector(values), _free(f"{prefix}_{number}", found))
    found[parameter] = values
    return Varying(parameter)


def _vector(values: Sequence[Any]) -> tuple:
    return tuple((type(v), v) for v in values)


def _free(name: str, taken: dict[str, Any]) -> str:
    return name if name not in taken else f"{name}{len(taken)}"


def _about(block: NetworkBlock) -> str:
    """`mbconv: expand, depthwise, project, + input`."""
    parts = [local(op, block) if op.word is None else op.word for op in block.ops]
    text = f"{block.kind}: {', '.join(part for part in parts if part)}." if parts else f"{block.kind}."
    return "\n    ".join(wrap(text, 106))
