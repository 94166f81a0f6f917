"""What blocks have in common: blocks whose operators differ only in numbers become one class with parameters.

Code generators (`torch_code`, `flax_code`) turn a `Shape` into one class and a block into one call of it. Numbers that
are equal in all blocks of a shape are written out; the others become parameters, named after the block's own fields
where they carry the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from dnas.errors import UserError
from dnas.export.trace import Graph, Op, TracedBlock, Weights, uses
from dnas.ops.tensor import HEADS

ORDER = ("inputs", "hidden", "out", "kernel", "stride")


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
    helper: str = ""
    """Text that the file has once."""
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
    """`Parameter`s of the class, None for what follows from others, or plain values."""
    text: Mapping[str, str]
    """The same as text."""


def writer_of(writers: Writers, op: Op, block: TracedBlock, target: str) -> Writer:
    """Raises `UserError` for an operator that the target cannot express."""
    if op.kind not in writers:
        raise UserError(f"{block.path}: {target} cannot express the operator '{op.kind}'")
    return writers[op.kind]


@dataclass(frozen=True)
class Shape:
    """One class of blocks.

    `slots[op index][attribute]` is a literal or the name of a parameter; `arguments[block path]` the parameters'
    values there.
    """

    name: str
    about: str
    blocks: tuple[TracedBlock, ...]
    parameters: tuple[str, ...]
    slots: tuple[dict[str, Any], ...]
    arguments: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Parameter:
    """A slot that is a parameter of the class."""

    name: str


def structure(graph: Graph, writers: Writers, target: str) -> dict[str, Shape]:
    """Block path -> its shape; blocks without operators (identities) have none.

    Raises `UserError` for an operator without a writer.
    """
    groups: dict[Any, list[TracedBlock]] = {}
    for block in graph.blocks:
        if block.ops:
            groups.setdefault(_signature(block), []).append(block)
    per_kind: dict[str, int] = {}
    result = {}
    for (kind, *_), blocks in groups.items():
        per_kind[kind] = per_kind.get(kind, 0) + 1
        name = "".join(part.capitalize() for part in kind.split("_"))
        name += str(per_kind[kind]) if per_kind[kind] > 1 else ""
        shape = _shape(name, blocks, [writer_of(writers, op, blocks[0], target) for op in blocks[0].ops])
        result.update({block.path: shape for block in blocks})
    return result


def local(op: Op, block: TracedBlock) -> str:
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


def own(*names: str) -> Numbers:
    """Attributes of the operator, by name."""
    return lambda op: {name: op.attributes[name] for name in names}


def _signature(block: TracedBlock) -> tuple:
    """Kind, and operators with their wiring, without numbers. Whether a bias exists belongs to the form."""
    place = {block.input.index: 0} | {op.output.index: n + 1 for n, op in enumerate(block.ops)}
    ops = [
        (op.kind, local(op, block), tuple(place[v.index] for v in op.inputs), op.attributes.get("bias"),
         op.attributes.get("keep"), op.attributes.get("factors"), op.output.side is None)
        for op in block.ops
    ]  # fmt: skip
    return block.kind, tuple(ops)


def _shape(name: str, blocks: Sequence[TracedBlock], writers: Sequence[Writer]) -> Shape:
    known: dict[tuple, str] = {}
    for field in (*ORDER, *blocks[0].fields):
        values = [b.input.channels if field == "inputs" else b.fields.get(field) for b in blocks]
        known.setdefault(_vector(values), field)
    slots: list[dict[str, Any]] = []
    found: dict[str, list[Any]] = {}
    for index, (op, writer) in enumerate(zip(blocks[0].ops, writers, strict=True)):
        every = [writer.numbers(block.ops[index]) for block in blocks]
        slot = {}
        for attribute, value in every[0].items():
            values = [one[attribute] for one in every]
            if len(set(map(repr, values))) == 1:
                slot[attribute] = value
                continue
            if attribute == "padding" and values == [one["kernel"] // 2 for one in every]:
                slot[attribute] = None  # follows from the kernel
                continue
            vector = _vector(values)
            parameter = known.setdefault(vector, _free(f"{local(op, blocks[0]) or op.kind}_{attribute}", found))
            found[parameter] = values
            slot[attribute] = Parameter(parameter)
        slots.append(slot)
    order = sorted(found, key=lambda p: ORDER.index(p) if p in ORDER else len(ORDER))
    arguments = {block.path: {p: found[p][n] for p in order} for n, block in enumerate(blocks)}
    return Shape(name, _about(blocks[0]), tuple(blocks), tuple(order), tuple(slots), arguments)


def _vector(values: Sequence[Any]) -> tuple:
    return tuple((type(v), v) for v in values)


def _free(name: str, taken: dict[str, Any]) -> str:
    return name if name not in taken else f"{name}{len(taken)}"


def _about(block: TracedBlock) -> str:
    """`mbconv: expand, depthwise, project, + input`."""
    parts = [local(op, block) if op.word is None else op.word for op in block.ops]
    return "\n    ".join(wrap(f"{block.kind}: {', '.join(part for part in parts if part)}.", 106))


def weighted_sum(factors: Any, terms: Sequence[str]) -> str:
    """`0.5 * a + 0.5 * b`, `a - b`: a statement of its own, as its kind ends one."""
    signs = ["" if n == 0 and f > 0 else "-" if n == 0 else " + " if f > 0 else " - " for n, f in enumerate(factors)]
    sizes = ["" if abs(f) == 1 else f"{abs(f)!r} * " for f in factors]
    return "".join(f"{a}{b}{c}" for a, b, c in zip(signs, sizes, terms, strict=True))


Statement = tuple[str, str]
"""Variable and expression."""
Render = Callable[[int, Op, list[str]], str]
"""`(op index, op, input expressions)` to the operator's expression."""


def statements(block: TracedBlock, writers: Writers, render: Render) -> Iterator[Statement]:
    """The statements of a block's forward function; the last one's variable is the result.
    A result that is read once goes straight into the
    expression that reads it, unless its writer `ends` a statement.
    """
    last = block.output
    read = uses(block.ops, last)
    expressions: dict[int, str] = {block.input.index: "x"}
    within: dict[int, set[int]] = {block.input.index: {block.input.index}}  # variables in an expression, by value
    left = dict(read)  # how many reads of a variable no statement holds yet
    holders: dict[str, int] = {"x": block.input.index}
    for index, op in enumerate(block.ops):
        expression = render(index, op, [expressions[v.index] for v in op.inputs])
        inside = [variable for value in op.inputs for variable in within[value.index]]
        if not writers[op.kind].ends and read[op.output.index] == 1 and op.output.index != last.index:
            expressions[op.output.index], within[op.output.index] = expression, set(inside)
            for variable in inside:  # read later, and once however often it stands there
                left[variable] -= 1
            for variable in set(inside):
                left[variable] += 1
            continue
        for variable in inside:
            left[variable] -= 1
        name = next(n for n in ("y", "s", "z", *(f"v{i}" for i in range(99))) if left.get(holders.get(n, -1), 0) == 0)
        holders[name] = op.output.index
        expressions[op.output.index], within[op.output.index] = name, {op.output.index}
        yield name, expression


def call(shape: Shape, block: TracedBlock, render: Any, last: str = "") -> str:
    """`Mbconv(16, 48, 16, kernel=3)`: the call that makes one block.

    Widths go by position. `last` is a further argument.
    """
    parts = [
        render(value) if parameter in ORDER[:3] else f"{parameter}={render(value)}"
        for parameter, value in shape.arguments[block.path].items()
    ]
    return f"{shape.name}({', '.join([*parts, *([last] if last else [])])})"
