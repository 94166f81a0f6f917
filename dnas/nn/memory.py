"""How much memory a forward and a backward pass need, from its graph: nothing is traced or compiled.

What XLA keeps for the backward pass is what some operator reads again and cannot compute while it reads: results of
products and convolutions (for the gradient of the norm after them), of activations and of squeeze-excite (for that of
the next product), of sums between branches and of pools; and a norm's result where a product or a mixture of
activations reads it. Elsewhere norms, masks and scales are computed where they are read. Masks that are folded into the
weights of a convolution make a copy of them. While an operator's gradient is computed, the cotangents
of its result and of its input are there too.

A pass is a row of segments, each with what it keeps from the forward pass on until its own gradient, and what its
gradient needs beside that. The most memory is at some segment: what all segments up to it keep, and its own need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnas.graph import graph_of
from dnas.graph.parts import BlockUse, Branches, LayerRun, Node, Part, inside
from dnas.graph.sampled import sampled
from dnas.nn.forms import Forms
from dnas.ops.operator import Segment
from dnas.ops.tensor import Tensor
from dnas.space.space import Space

WEIGHTS_AGAIN = 2
"""Copies of a block's weights where it is run again in a branch of the program: what goes in, and its gradient."""


@dataclass(frozen=True)
class Mode:
    """What is evaluated, and what is kept (`dnas.nn.supernet.Supernet`)."""

    paths: int | None = None
    resolution_paths: int | None = None
    low_memory: bool = False
    forms: Forms | None = None
    backward: bool = True
    """Whether anything is kept at all."""


def backward_floats(space: Space, mode: Mode, images: int) -> int:
    """Most floats that a gradient holds at once beside the parameters and their gradient.

    Every choice counts with its largest option, for that is what is compiled.
    """
    graph = sampled(graph_of(space), mode.paths)
    return _most(_held(graph.parts, mode, images, {graph.input}).segments, mode)


def forward_floats(space: Space, mode: Mode, images: int) -> int:
    """Most floats that a forward pass holds at once beside the parameters."""
    return backward_floats(space, replace(mode, low_memory=False, backward=False), images)


def _most(segments: Sequence[Segment], mode: Mode) -> int:
    if not mode.backward:
        return max((segment.working for segment in segments), default=0)
    kept, most = 0, 0
    for segment in segments:
        kept += segment.kept
        most = max(most, kept + segment.working)
    return most


def _held(parts: Sequence[Part], mode: Mode, images: int, resident: set[Tensor]) -> _Held:
    held = _Held(mode, images, resident)
    for part in parts:
        held.part(part)
    return held


class _Held:
    """Segments of the operators, in their order, in floats of the whole batch."""

    def __init__(self, mode: Mode, images: int, resident: set[Tensor]):
        self.mode, self.images, self.segments, self.weights = mode, images, list[Segment](), 0
        self.resident = resident
        """What lies in memory anyway, and so costs its readers nothing."""

    def part(self, part: Part) -> None:
        match part:
            case Node():
                self._node(part)
            case LayerRun():
                for layer in part.layers:
                    self._again(layer, [branch.parts for branch in layer.branches])
            case BlockUse() | Branches() if self.mode.low_memory and isinstance(part.input, Tensor):
                self._again(part, [[part]])
            case _:
                for inner in inside(part):
                    self.part(inner)

    def _node(self, node: Node) -> None:
        if node.idle:
            return
        operator, form = node.operator, (self.mode.forms or {}).get(node.operator.name)
        memory = type(operator).memory if form is None or form.memory is None else form.memory
        operands = sum(self._read(x) for x in node.inputs[: operator.operands])
        for segment in memory(operator, self.mode, node.output, *node.inputs):
            kept, operands = segment.kept + operands, 0
            self.segments.append(Segment(self.images * kept + segment.copies, self.images * segment.working))
        self.weights += sum(p.length for p in node.parameters.values() if len(p.lengths) > 1)
        if operator.resident:
            self.resident.add(node.output)

    def _read(self, x: Tensor) -> int:
        """Floats of an operand that lies in memory for its first reader's sake."""
        found = 0 if x in self.resident else x.length
        self.resident.add(x)
        return found

    def _again(self, part: BlockUse | Branches, alone: Sequence[Sequence[Part]]) -> None:
        """Parts that are run again in the backward pass: their input is kept, and the largest's inside is there while
        its gradient is computed."""
        mode, x, y = self.mode, part.input, part.output
        assert isinstance(x, Tensor) and isinstance(y, Tensor)
        mode, known = replace(mode, low_memory=False), self.resident & {x}
        within = [_held(parts, mode, self.images, set(known)) for parts in alone]
        again = WEIGHTS_AGAIN if mode.backward else 1
        most = max(_most(own.segments, mode) + again * own.weights for own in within)
        self.weights += sum(own.weights for own in within)
        self.segments.append(Segment(self.images * x.length, most + self.images * y.length))
        self.resident.add(y)
