"""A network as data: operators at paths, blocks of them, and choices between several. Made once a space, never changed.

Every fact of a network - costs, memory, names of parameters, its forward pass - is read from its graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dnas.errors import UserError, suggestion
from dnas.graph.parts import BlockUse, Branches, LayerRun, Node, Part, Record, blocks_of, nodes_of
from dnas.ops import LayerScale, Mask, Operator, Select
from dnas.ops.operator import Parameter
from dnas.ops.tensor import CHANNELS, Tensor, leaves, mapped
from dnas.space.quantity import Assignment, Quantity
from dnas.space.quantized import Quantized

GATE = "gate"
"""Ends the path of a learned factor behind an operator."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole network. It is hashed by identity, and printed a line an operator."""

    input: Tensor
    output: Tensor
    parts: tuple[Part, ...]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(nodes_of(self.parts))

    @cached_property
    def uses(self) -> tuple[BlockUse, ...]:
        """Blocks, in the order of the network."""
        return tuple(blocks_of(self.parts))

    @cached_property
    def ledger(self) -> tuple[Record, ...]:
        return tuple(record for node in self.nodes for record in node.records)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """By path, in the order of the network."""
        return {path: parameter for node in self.nodes for path, parameter in node.parameters.items()}

    def fix(self, assignment: Assignment) -> Graph:
        """The network in which choices take the options of the given indices: sizes are numbers, and branches that are
        not taken are gone."""
        return _Replay(assignment, {}).graph(self)

    def keeping(self, sizes: Mapping[str, Quantity]) -> Graph:
        """The network, without choices, in which operators make axes of other sizes, by path: `kept` ones, of which
        some entries are masked away, or `given` ones (`dnas.space.entries`). `fix({})` then cuts out what is kept.

        An operator that has no width of its own, such as a norm, does all that it did, and only what it names is read
        after it (`dnas.ops.Select`).

        Raises `UserError` for a path without an operator.
        """
        for path in sizes.keys() - {node.path for node in self.nodes}:
            raise UserError(f"no operator at '{path}'")
        return _Replay({}, sizes).graph(self)

    def quantized(self, how: Mapping[str, Quantized]) -> Graph:
        """The network, without choices, in which operators are quantised, by path."""
        return replace(self, parts=tuple(_quantized(part, how) for part in self.parts))

    def gated(self, paths: Collection[str]) -> Graph:
        """The network, without choices, with a learned factor a channel behind the results of these operators: 1 at
        first (the gates of VTP, Zhu et al. 2021, section 3.1).

        Raises `UserError` for a path without an operator, or one whose result has no channels.
        """
        channels = {node.path for node in self.nodes if CHANNELS in node.output.names}
        for path in paths:
            if path not in channels:
                raise UserError(f"no operator with channels has the path '{path}'{suggestion(path, channels)}")
        return _Replay({}, {}, dict.fromkeys(paths, LayerScale(1.0))).graph(self)

    def __str__(self) -> str:
        return "\n".join(
            f"{node.path}: {node.operator.name} {' '.join(map(_sizes, node.inputs))} -> {_sizes(node.output)}"
            for node in self.nodes
        )


def _quantized(part: Part, how: Mapping[str, Quantized]) -> Part:
    match part:
        case Node():
            return replace(part, quantized=how.get(part.path))
        case BlockUse():
            return replace(part, parts=tuple(_quantized(inner, how) for inner in part.parts))
    raise AssertionError(part)


def placed(path: str, operator: Operator, inputs: tuple[Tensor, ...], conditions: tuple[Quantity, ...]) -> Node:
    """The node of an operator; its output is an input where there is nothing to do."""
    passed = operator.passes(*inputs)
    return Node(path, operator, inputs, operator.output(*inputs) if passed is None else passed, conditions)


def masking(path: str, operator: Operator, inputs: tuple[Tensor, ...]) -> tuple[Node, ...]:
    """What masks the inputs of an operator that reads them so; elsewhere they are handed on."""
    wanted = operator.passes(*inputs) is None and operator.wants_masked(*inputs)
    mask = f"{path}.mask"
    return tuple(placed(mask, Mask(), (x,), ()) if wanted else Node(mask, Mask(), (x,), x) for x in inputs)


class _Replay:
    """Parts with choices decided and some sizes replaced, and what each tensor has become."""

    def __init__(
        self, assignment: Assignment, sizes: Mapping[str, Quantity], gates: Mapping[str, Operator] | None = None
    ):  # fmt: skip
        self.assignment, self.sizes, self.gates = assignment, sizes, gates or {}
        self.at: dict[Tensor, Tensor] = {}
        self.became: dict[Quantity, Quantity] = {}
        """What sizes have become: what is made as wide as something else follows it."""

    def graph(self, graph: Graph) -> Graph:
        start = self.tensor(graph.input)
        parts = self.parts(graph.parts)
        return Graph(start, self.at[graph.output], parts)

    def tensor(self, x: Tensor) -> Tensor:
        """The tensor itself, where nothing computes it."""
        if x not in self.at:
            self.at[x] = x.like(**{axis.name: axis.size.fix(self.assignment) for axis in x.axes})
        return self.at[x]

    def size(self, size: Quantity) -> Quantity:
        """One and the same for all that have one size, so that they go on to follow one another."""
        if size not in self.became:
            self.became[size] = size.fix(self.assignment)
        return self.became[size]

    def parts(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        return tuple(found for part in parts for found in self.part(part))

    def part(self, part: Part) -> Iterator[Part]:
        match part:
            case Node():
                operator, inputs = part.operator.changed(self.size), tuple(map(self.tensor, part.inputs))
                wanted = self.sizes.get(part.path)
                narrowed = None if wanted is None else operator.keeping(wanted)
                operator = narrowed or operator
                masks = masking(part.path, operator, inputs)
                node = placed(part.path, operator, tuple(mask.output for mask in masks), ())
                node = replace(node, quantized=part.quantized)
                self.at[part.output] = node.output
                sizes = zip(part.output.axes, node.output.axes, strict=True)
                # A size that is handed on is the affair of what made it: behind `kept` it is another one here alone.
                passed = {axis.size for x in part.inputs for axis in x.axes} if wanted is None else ()
                self.became |= {old.size: new.size for old, new in sizes if new.size.masked and old.size not in passed}
                nodes = [*masks, node]
                behind = {"kept": Select(wanted)} if wanted is not None and narrowed is None else {}
                behind |= {GATE: self.gates[part.path]} if part.path in self.gates else {}
                for name, more in behind.items():
                    nodes.append(placed(f"{part.path}.{name}", more, (nodes[-1].output,), ()))
                    self.at[part.output] = nodes[-1].output
                if all(condition.at(self.assignment) for condition in part.conditions):
                    yield from (found for found in nodes if found.matters)
            case BlockUse():
                inner = self.parts(part.parts)
                fields = {name: q.fix(self.assignment) for name, q in part.fields.items()}
                x, y = (mapped(self.tensor, feature) for feature in (part.input, part.out))
                yield BlockUse(part.path, part.kind, fields, x, y, inner)
            case Branches():
                branch = next(b for b in part.branches if b.condition.at(self.assignment))
                yield from self.parts(branch.parts)
                results = zip(leaves(part.output), leaves(branch.output), strict=True)
                self.at |= {mixed: self.tensor(taken) for mixed, taken in results}
            case LayerRun():
                yield from self.parts(part.layers)


def _sizes(tensor: Tensor) -> str:
    return "[" + ", ".join(f"{axis.name} {_options(axis.size.values())}" for axis in tensor.axes) + "]"


def _options(values: list[Any]) -> str:
    values = sorted(values)
    return str(values[0]) if len(values) == 1 else f"{values[0]}..{values[-1]}"
