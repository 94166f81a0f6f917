"""How much memory a forward and a backward pass need, from a walk over the space: nothing is traced or compiled.

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
from typing import NamedTuple

from dnas.network import Feature, Network, Scores
from dnas.nn.depthwise_loop import FEW_CHANNELS
from dnas.space.quantity import Quantity
from dnas.space.space import Node, OneOf, Space, Stage

WEIGHTS_AGAIN = 2
"""Copies of a block's weights where it is run again in a branch of the program: what goes in, and its gradient."""


class Segment(NamedTuple):
    """Numbers of floats."""

    kept: int
    working: int


@dataclass(frozen=True)
class Mode:
    """What is evaluated, and what is kept (`dnas.nn.supernet.Supernet`)."""

    paths: int | None = None
    resolution_paths: int | None = None
    low_memory: bool = False
    kernels: bool = False
    backward: bool = True
    """Whether anything is kept at all."""


def backward_floats(space: Space, mode: Mode, images: int) -> int:
    """Most floats that a gradient holds at once beside the parameters and their gradient.

    Every choice counts with its largest option, for that is what is compiled.
    """
    return _most(_walked(space.nodes, _input(space), mode, images).segments, mode)


def forward_floats(space: Space, mode: Mode, images: int) -> int:
    """Most floats that a forward pass holds at once beside the parameters."""
    mode = replace(mode, low_memory=False, backward=False)
    return _most(_walked(space.nodes, _input(space), mode, images).segments, mode)


def _input(space: Space) -> Feature:
    return Feature(True, Quantity.constant(space.channels), space.resolution)


def _most(segments: Sequence[Segment], mode: Mode) -> int:
    if not mode.backward:
        return max((segment.working for segment in segments), default=0)
    kept, most = 0, 0
    for segment in segments:
        kept += segment.kept
        most = max(most, kept + segment.working)
    return most


def _walked(nodes: Sequence[Node], x: Feature, mode: Mode, images: int) -> _Kept:
    values = _Kept(mode, images)
    Network(values).walk(nodes, x)
    return values


class _Kept:
    """Values of a walk that notes a segment for each operator; a value says whether it lies in memory anyway."""

    def __init__(self, mode: Mode, images: int):
        self.mode, self.images, self.segments, self.weights = mode, images, list[Segment](), 0
        self._read: dict[int, Feature] = {}

    def _note(self, kept: int, *cotangents: int, weights: int = 0) -> bool:
        self.segments.append(Segment(self.images * kept + weights, self.images * sum(cotangents)))
        return True

    def ahead(self, nodes: Sequence[Node], x: Feature) -> tuple[int, Feature] | None:
        """Blocks that are run again in the backward pass: their input is kept, and the largest's inside is there while
        its gradient is computed."""
        node, mode = nodes[0], self.mode
        if isinstance(node, OneOf) and mode.paths is not None and len(node.branches) > mode.paths:
            alone = [[branch] for branch in node.branches]
        elif mode.low_memory and not isinstance(node, Stage):
            alone = [[node]]
        else:
            return None
        inside = [_walked(part, x, replace(mode, low_memory=False), self.images) for part in alone]
        again = WEIGHTS_AGAIN if mode.backward else 1
        most = max(_most(part.segments, mode) + again * part.weights for part in inside)
        y = replace(Network().walk([node], x), value=True)
        self.weights += sum(part.weights for part in inside)
        self.segments.append(Segment(self.images * _size(x), most + self.images * _size(y)))
        return 1, y

    # Products -------------------------------------------------------------------------------------------------------

    def conv(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding, groups, bias) -> bool:
        pointwise = kernel.max() == 1 and stride == 1
        if not pointwise and self.mode.kernels and groups == 1 and x.width <= FEW_CHANNELS:
            assert x.side is not None
            # A channel repeated for every one of the result, what that adds, and the sum.
            self._note(0, y.width * x.side.max() ** 2, _size(x), 2 * _size(y))
        elif not pointwise:
            self._grids(x, y)
        return self._product(x, y, kernel.max() ** 2 * x.width * y.width // groups, copied=not pointwise, bias=bias)

    def linear(self, path, x: Feature, y: Feature, bias) -> bool:
        return self._product(x, y, x.width * y.width)

    def _product(self, x: Feature, y: Feature, weights: int, copied: bool = False, bias: bool = False) -> bool:
        """`copied`: where the mask of the input is folded into the weights, there is a copy of them. A convolution's
        result lies there with its bias and without, both read by the norm after it."""
        self.weights += weights
        operand = 0 if x.value or id(x) in self._read else _size(x)
        self._read[id(x)] = x
        masked = copied and x.pending and not x.channels.is_constant
        return self._note((1 + bias) * _size(y) + operand, _size(y), _size(x), weights=weights * masked)

    def depthwise(self, path, x: Feature, y: Feature, kernel: Quantity, stride, padding, bias) -> bool:
        self.weights += kernel.max() ** 2 * x.width
        if self.mode.kernels:
            return self._by_the_loop(x, y)
        self._grids(x, y)
        assert x.side is not None
        padded = x.width * (x.side.max() + kernel.max() - 1) ** 2
        alone = [] if self.mode.backward else [padded, bias * _size(y)]
        return self._note(_size(y), _size(y), _size(x), *alone)

    def _by_the_loop(self, x: Feature, y: Feature) -> bool:
        """Nothing is copied; over grids, the cotangent lies there as it comes and divided by coverage."""
        several = x.side is not None and not x.side.is_constant
        return self._note(_size(y), *[_size(y)] * (1 + several), _size(x))

    def _grids(self, x: Feature, y: Feature) -> None:
        """Where the resolution is sampled, the pixels of each one's grid are kept; all of them are taken in turn."""
        options = 1 if x.side is None else len(x.side.values())
        paths = self.mode.resolution_paths
        if options > 1 and paths is not None and paths < options:
            self._note(paths * _size(x), 3 * _size(x), 4 * _size(y))
        elif options > 1:
            self._note(0, 3 * _size(x), 3 * _size(y))

    def squeeze_excite(self, path, x: Feature, hidden: Quantity, act: Quantity, on: Quantity) -> bool:
        weights = x.width * hidden.max()
        self.weights += 2 * weights
        masked = (x.pending and not x.channels.is_constant) + (not hidden.is_constant)
        return self._note(_size(x), _size(x), _size(x), weights=weights * masked)

    # Elementwise ----------------------------------------------------------------------------------------------------

    def batch_norm(self, path, x: Feature, masked: bool, start: float, switched: bool) -> bool:
        return False

    def mask(self, x: Feature) -> bool:
        return x.value and x.channels.is_constant

    def activation(self, x: Feature, act: Quantity) -> bool:
        several, parts = len(act.values()) > 1 and not self.mode.kernels, "gelu" in act.values()
        return self._note(_size(x) * (1 + (several or parts)), _size(x), _size(x))

    def layer_norm(self, path, x: Feature) -> bool:
        return self._note(_size(x), _size(x), _size(x))

    def layer_scale(self, path, x: Feature, start: float) -> bool:
        return False

    def residual(self, x: Feature, y: Feature, agree: Quantity) -> bool:
        return self._note(_size(y), _size(y), _size(x))

    def mixture(self, parts: Sequence[tuple[Quantity, Feature]], y: Feature) -> bool:
        return self._note(_size(y), _size(y), *(_size(part) for _, part in parts))

    def combine(self, parts: Sequence[tuple[float, Feature]]) -> bool:
        return self._note(_size(parts[0][1]), _size(parts[0][1]), _size(parts[0][1]))

    def channel_shuffle(self, x: Feature, groups: int) -> bool:
        return self._note(_size(x), _size(x), _size(x))

    # Maps and attention ---------------------------------------------------------------------------------------------

    def global_pool(self, x: Feature) -> bool:
        return True

    def average_pool(self, x: Feature, y: Feature, kernel: Quantity, stride, padding) -> bool:
        return self.upsample(x, y)

    def upsample(self, x: Feature, y: Feature) -> bool:
        self._grids(x, y)
        return self._note(_size(y), _size(y), _size(x))

    def attention_scores(self, q: Feature, k: Feature, s: Scores) -> bool:
        return self._note(_scores(s), _scores(s), _size(q), _size(k))

    def attention_bias(self, path, s: Scores, stride: int) -> bool:
        return False

    def mix_heads(self, path, s: Scores) -> bool:
        return self._note(_scores(s), _scores(s), _scores(s))

    def softmax(self, s: Scores) -> bool:
        return self._note(_scores(s), _scores(s), _scores(s))

    def attend(self, s: Scores, v: Feature, y: Feature) -> bool:
        return self._note(_size(y), _size(y), _size(v), _scores(s))

    def tap(self, path: str, x: Feature) -> None:
        pass


def _size(x: Feature) -> int:
    return x.width if x.side is None else x.width * x.side.max() ** 2


def _scores(s: Scores) -> int:
    return s.heads.max() * s.queries.max() ** 2 * s.keys.max() ** 2
