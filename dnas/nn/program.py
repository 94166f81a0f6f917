"""Whether two blocks are the same program: the operators that they consist of, without the names of their parameters.

Options of a choice often differ in numbers alone, and the blocks of a stage repeat. Same programs are compiled once
and given different parameters. A smaller kernel is a larger one with zeros around it, so kernels do not count, only
the padding beyond half of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

from dnas.network import Feature, Network
from dnas.space.quantity import Quantity
from dnas.space.space import Node, OneOf


class Program(NamedTuple):
    """A block's operators in the order of their evaluation; parameters are met in that order too."""

    steps: tuple[Any, ...]
    """Hashable; equal for same programs."""
    size: int
    """Of the kernels: the program of larger ones serves smaller ones."""
    y: Feature


def program_of(node: Node, x: Feature) -> Program:
    """The program of a block on an input of x's sizes."""
    recorder: Any = _Recorder()
    network, x = Network(recorder), replace(x, value=0)
    y = network.masked(network.walk([node], x))
    return Program((_plain(x), *recorder.steps, _plain(y)), recorder.size, y)


class Layers(NamedTuple):
    """Choices between the same programs, one after another."""

    nodes: list[OneOf]
    programs: list[Program]
    """Of the branches, the same in every layer."""
    y: Feature
    """Sizes after each of the layers."""


def same_layers(nodes: Sequence[Node], x: Feature) -> Layers:
    """The first of the nodes, a choice between blocks, and those after it that are the same on what it gives."""
    layers: list[OneOf] = []
    programs: list[Program] = []
    y = replace(x, value=None)
    for node in nodes:
        if not isinstance(node, OneOf):
            break
        found = [program_of(branch, y) for branch in node.branches]
        if layers and [(p.steps, p.size) for p in found] != [(p.steps, p.size) for p in programs]:
            break
        programs, y = found, Network().node(node, y)
        layers.append(node)
    return Layers(layers, programs, y)


class _Recorder:
    """Values of a walk that are the numbers of the operators which give them."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.size = 0

    def _note(self, *step: Any) -> int:
        self.steps.append(tuple(_plain(part) for part in step))
        return len(self.steps)

    def _kernel(self, kernel: Quantity, padding: Quantity) -> Any:
        if not (kernel.is_constant and padding.is_constant):
            return kernel, padding
        self.size += kernel.value
        return kernel.value % 2, padding.value - kernel.value // 2

    def conv(self, path, x, y, kernel, stride, padding, groups, bias) -> int:
        pointwise = kernel.is_constant and kernel.value == 1
        return self._note("conv", x, y, self._kernel(kernel, padding), pointwise, stride, groups, bias)

    def depthwise(self, path, x, y, kernel, stride, padding, bias) -> int:
        return self._note("depthwise", x, y, self._kernel(kernel, padding), stride, bias)

    def tap(self, path: str, x: Feature) -> None:
        pass

    def ahead(self, nodes: Sequence[Node], x: Feature) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., int]:
        def note(*arguments: Any) -> int:
            # Paths are the only texts among the arguments.
            return self._note(name, *(a for a in arguments if not isinstance(a, str)))

        return note


def _plain(part: Any) -> Any:
    """As a hashable value."""
    match part:
        case Feature():
            return part.value, _plain(part.channels), _plain(part.side), part.pending
        case Quantity():
            return part.value if part.is_constant else (part.over, part.table.dtype.str, part.table.tobytes())
        case list() | tuple():
            return tuple(_plain(p) for p in part)
        case _ if is_dataclass(part):
            return tuple(_plain(getattr(part, field.name)) for field in fields(part))
        case _:
            return part
