"""Whether two options are the same program: the operators that they consist of, without the names of their parameters.

Options of a choice often differ in numbers alone, and the blocks of a stage repeat. Same programs are compiled once
and given different parameters. A smaller kernel is a larger one with zeros around it, so kernels do not count, only
the padding beyond half of them (`Operator.program`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnas.graph.parts import Part, ProgramKey, nodes_of
from dnas.ops.tensor import Feature, Tensor, leaves
from dnas.space.entries import Given
from dnas.space.quantity import Quantity


def program_key(parts: Sequence[Part], x: Feature, y: Tensor) -> ProgramKey:
    """The key of the program that makes y of x. Tensors are told apart by the order in which they are made, masks that
    are given by that in which they are met."""
    numbers: dict[Tensor, int] = {tensor: n for n, tensor in enumerate(leaves(x))}
    plain = _Plain()
    steps: list[Any] = [*map(plain.sizes, leaves(x))]
    size = 0
    for node in nodes_of(parts):
        if node.idle:
            continue
        attributes, kernel = node.operator.program()
        size += kernel
        read = tuple(numbers[tensor] for tensor in node.inputs)
        numbers[node.output] = len(numbers)
        steps.append((node.operator.name, plain(attributes), read, plain.sizes(node.output)))
    return ProgramKey((*steps, numbers[y]), size)


class _Plain:
    """Attributes as hashable values; of masks that are given the names do not count."""

    def __init__(self) -> None:
        self.masks: dict[str, int] = {}

    def sizes(self, tensor: Tensor) -> Any:
        return tuple((axis.name, self(axis.size), axis.pending) for axis in tensor.axes)

    def __call__(self, part: Any) -> Any:
        match part:
            case Given():
                return "given", self.masks.setdefault(part.name, len(self.masks)), part.value
            case Quantity():
                return part.identity if part.over or part.masked else part.value
            case list() | tuple():
                return tuple(map(self, part))
        return part
