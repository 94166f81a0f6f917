"""What blocks have in common: blocks whose operators differ only in numbers become one class with parameters.

Code generators (`torch_code`, `flax_code`) turn a `Shape` into one class and a block into one call of it. Numbers that
are equal in all blocks of a shape are written out; the others become parameters, named after the block's own fields
where they carry the same values.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from dnas.export.trace import Graph, Op, TracedBlock, uses

WITH_SIZES = ("conv", "linear", "norm", "layer_norm", "gamma", "mix_heads")
ORDER = ("inputs", "hidden", "out", "kernel", "stride")


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


def structure(graph: Graph) -> dict[str, Shape]:
    """Block path -> its shape; blocks without operators (identities) have none."""
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
        shape = _shape(name, blocks)
        result.update({block.path: shape for block in blocks})
    return result


def local(op: Op, block: TracedBlock) -> str:
    """An operator's name inside its block: `se.reduce` of `trunk.3.se.reduce` as `se_reduce`."""
    return op.path[len(block.path) + 1 :].replace(".", "_")


def attributes(op: Op) -> dict[str, Any]:
    """Every number of an operator, sizes included."""
    found = dict(op.attributes)
    if op.kind in WITH_SIZES:
        found |= {"inputs": op.inputs[0].channels, "out": op.output.channels}
    if op.kind == "distance_bias":
        found |= {"heads": op.output.channels, "queries": op.output.side, "keys": op.output.keys}
    if op.kind == "attend":
        found |= {"side": op.output.side}
    return found


def _signature(block: TracedBlock) -> tuple:
    """Kind, and operators with their wiring, without numbers. Whether a bias exists belongs to the form."""
    place = {block.input.index: 0} | {op.output.index: n + 1 for n, op in enumerate(block.ops)}
    ops = [
        (op.kind, local(op, block), tuple(place[v.index] for v in op.inputs), op.attributes.get("bias"),
         op.attributes.get("keep"), op.attributes.get("factors"), op.output.side is None)
        for op in block.ops
    ]  # fmt: skip
    return block.kind, tuple(ops)


def _shape(name: str, blocks: Sequence[TracedBlock]) -> Shape:
    known: dict[tuple, str] = {}
    for field in (*ORDER, *blocks[0].fields):
        values = [b.input.channels if field == "inputs" else b.fields.get(field) for b in blocks]
        known.setdefault(_vector(values), field)
    slots: list[dict[str, Any]] = []
    found: dict[str, list[Any]] = {}
    for index, op in enumerate(blocks[0].ops):
        every = [attributes(block.ops[index]) for block in blocks]
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
    words = {
        "pool": "pool", "shuffle": "shuffle", "add": "+ input", "average_pool": "local means", "upsample": "enlarged",
        "softmax": "softmax", "attend": "weighted values",
    }  # fmt: skip
    parts = [local(op, block) or words.get(op.kind, "") for op in block.ops if op.kind not in ("norm", "gamma")]
    return "\n    ".join(wrap(f"{block.kind}: {', '.join(part for part in parts if part)}.", 106))


def weighted_sum(factors: Any, terms: Sequence[str]) -> str:
    """`0.5 * a + 0.5 * b`, `a - b`: a statement of its own, as its kind ends one."""
    signs = ["" if n == 0 and f > 0 else "-" if n == 0 else " + " if f > 0 else " - " for n, f in enumerate(factors)]
    sizes = ["" if abs(f) == 1 else f"{abs(f)!r} * " for f in factors]
    return "".join(f"{a}{b}{c}" for a, b, c in zip(signs, sizes, terms, strict=True))


ENDS = ("act", "add", "sum", "distance_bias", "attend")


def statements(block: TracedBlock, render: Any, ends: Sequence[str] = ENDS) -> Iterator[tuple[str, str]]:
    """(variable, expression) of each statement of a block's forward function; the last variable is the result.

    `render(op index, op, input expressions)` writes one operator. A result that is read once goes straight into the
    expression that reads it, unless its kind is one that `ends` a statement.
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
        if op.kind not in ends and read[op.output.index] == 1 and op.output.index != last.index:
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


def call(shape: Shape, block: TracedBlock, render: Any, keep: Container[str] | None = None, last: str = "") -> str:
    """`Mbconv(16, 48, 16, kernel=3)`: the call that makes one block, with the parameters in `keep` (None: all).

    Widths go by position. `last` is a further argument.
    """
    parts = [
        render(value) if parameter in ORDER[:3] else f"{parameter}={render(value)}"
        for parameter, value in shape.arguments[block.path].items()
        if keep is None or parameter in keep
    ]
    return f"{shape.name}({', '.join([*parts, *([last] if last else [])])})"
