"""Whether two options are the same program: the operators that they consist of, without the names of their parameters.

Options of a choice often differ in numbers alone, and the blocks of a stage repeat. Same programs are compiled once
and given different parameters. A smaller kernel is a larger one with zeros around it, so kernels do not count, only
the padding beyond half of them (`Operator.program`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnas.graph.parts import Part, ProgramKey, nodes_of
from dnas.ops.tensor import Tensor
from dnas.space.quantity import Quantity


def program_key(parts: Sequence[Part], x: Tensor, y: Tensor) -> ProgramKey:
    """The key of the program that makes y of x. Tensors are told apart by the order in which they are made."""
    numbers: dict[Tensor, int] = {x: 0}
    steps: list[Any] = [_sizes(x)]
    size = 0
    for node in nodes_of(parts):
        if node.idle:
            continue
        attributes, kernel = node.operator.program()
        size += kernel
        read = tuple(numbers[tensor] for tensor in node.inputs)
        numbers[node.output] = len(numbers)
        steps.append((node.operator.name, _plain(attributes), read, _sizes(node.output)))
    return ProgramKey((*steps, numbers[y]), size)


def _sizes(tensor: Tensor) -> Any:
    return tuple((axis.name, _plain(axis.size), axis.pending) for axis in tensor.axes)


def _plain(part: Any) -> Any:
    """As a hashable value."""
    match part:
        case Quantity():
            return part.identity if part.over or part.masked else part.value
        case list() | tuple():
            return tuple(map(_plain, part))
    return part
