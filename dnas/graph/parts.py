"""What a network consists of: operators at paths, blocks of them, choices between branches, and runs of like layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from dnas.graph.fields import effective_fields
from dnas.ops import Operator
from dnas.ops.operator import Parameter, Work
from dnas.ops.sizes import sizes_of
from dnas.ops.tensor import Feature, Tensor, leaves, mapped
from dnas.space.quantity import Choice, Product, Quantity
from dnas.space.quantized import FIRST, RESULT, SECOND, Quantized


@dataclass(frozen=True, eq=False)
class Record(Work):
    """The work of one operator. `given` is 1 where it is done (a branch is taken, a block is not skipped), else 0."""

    path: str = ""
    given: Product = Product(1)

    @property
    def works(self) -> bool:
        """Whether it is an operator of its own: activations go with the one before them."""
        return self.kind != "activation"


@dataclass(frozen=True, eq=False)
class Node:
    """An operator on its inputs. It exists where all `conditions` are 1."""

    path: str
    operator: Operator
    inputs: tuple[Tensor, ...]
    output: Tensor
    conditions: tuple[Quantity, ...] = ()
    quantized: Quantized | None = None

    @property
    def idle(self) -> bool:
        """Whether it hands an input on, and only counts."""
        return self.output in self.inputs

    @property
    def matters(self) -> bool:
        """Whether it computes or counts anything."""
        return not self.idle or any(True for _ in self.records)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """By path."""
        own = {**self.operator.parameters(*self.inputs), **self.scales}
        return {f"{self.path}.{name}": p for name, p in own.items()}

    @property
    def scales(self) -> dict[str, Parameter]:
        """Steps of its quantisers, by name; 1 where nothing was calibrated."""
        q, found = self.quantized, {}
        if q is not None and q.bits is not None:
            found[FIRST] = Parameter((), 1.0, statistic=True)
            weights = self.operator.parameters(*self.inputs).get(self.operator.second or "")
            channels = weights.shape[-1:] if weights is not None and q.per_channel else ()
            found[SECOND] = Parameter(channels, 1.0, statistic=True)
        if q is not None and q.result is not None:
            found[RESULT] = Parameter((), 1.0, statistic=True)
        return found

    @property
    def records(self) -> Iterator[Record]:
        """Of the ledger."""
        for work in self.operator.work(self.output, *self.inputs):
            conditions = self.conditions if work.taken is None else (*self.conditions, work.taken)
            yield Record(**vars(work), path=self.path, given=Product(*conditions))


@dataclass(frozen=True, eq=False)
class BlockUse:
    """One block as it is met: its fields, its input and the condition under which it exists."""

    path: str
    kind: str
    fields: dict[str, Quantity]
    """As they are written."""
    input: Feature
    out: Feature
    parts: tuple[Part, ...] = ()
    conditions: tuple[Quantity, ...] = ()

    @cached_property
    def given(self) -> Quantity:
        """1 where the block exists."""
        return Product(*self.conditions).joint()

    @cached_property
    def effective(self) -> dict[str, Quantity]:
        """The fields as the block takes them: where these are equal, so are the networks."""
        return effective_fields(self.kind, self.fields, leaves(self.input)[0])

    @property
    def output(self) -> Feature:
        return self.out

    @property
    def channels_in(self) -> Quantity:
        return leaves(self.input)[0].channels

    @property
    def side_in(self) -> Quantity | None:
        return leaves(self.input)[0].side

    @property
    def sizes_in(self) -> dict[str, Quantity]:
        """Of all that it reads, by the names of `dnas.ops.sizes`."""
        return sizes_of(self.input)

    @property
    def main(self) -> Tensor:
        """The result that costs speak of."""
        return leaves(self.out)[0]


@dataclass(frozen=True, eq=False)
class Branch:
    """One option, taken where `condition` is 1."""

    condition: Quantity
    parts: tuple[Part, ...]
    output: Feature
    path: str = ""
    """Begins the paths of whatever is in it, where it is the whole block of a choice."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Options of which one is taken, and the nodes that mix what they give: one for each tensor of the result.

    Where they are the whole blocks of a choice, `choice` is that, and `input` all that they read.
    """

    branches: tuple[Branch, ...]
    nodes: tuple[Node, ...]
    choice: Choice | None = None
    input: Feature | None = None

    @property
    def output(self) -> Feature:
        mixed = iter(self.nodes)
        return mapped(lambda _: next(mixed).output, self.branches[0].output)

    @property
    def path(self) -> str:
        return self.nodes[0].path


class ProgramKey(NamedTuple):
    """What tells a program from others: what is computed, without the names of parameters (`dnas.graph.program`)."""

    steps: tuple[Any, ...]
    """Hashable; equal for same programs."""
    size: int
    """Of the kernels: the program of larger ones serves smaller ones."""


@dataclass(frozen=True, eq=False)
class LayerRun:
    """Layers, one after another, each a choice between the same blocks, of which a few are evaluated."""

    layers: tuple[Branches, ...]
    programs: tuple[ProgramKey, ...]
    """Of the options, the same in every layer."""
    count: int
    """So many blocks of a layer are evaluated."""

    @property
    def name(self) -> str:
        """The first block's path."""
        return self.layers[0].branches[0].path

    @property
    def choices(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(layer.choice.name for layer in self.layers if layer.choice)

    @property
    def branches(self) -> tuple[tuple[str, ...], ...]:
        """Paths of each layer's blocks."""
        return tuple(tuple(branch.path for branch in layer.branches) for layer in self.layers)

    @property
    def input(self) -> Tensor:
        """Of the first layer."""
        found = self.layers[0].input
        assert isinstance(found, Tensor)
        return found

    @property
    def output(self) -> Tensor:
        """Of the last layer."""
        found = self.layers[-1].output
        assert isinstance(found, Tensor)
        return found


Part = Node | BlockUse | Branches | LayerRun


def inside(part: Part) -> tuple[Part, ...]:
    """The parts that a part consists of, in their order."""
    match part:
        case BlockUse():
            return part.parts
        case Branches():
            return (*(p for branch in part.branches for p in branch.parts), *part.nodes)
        case LayerRun():
            return part.layers
    return ()


def every(parts: Sequence[Part]) -> Iterator[Part]:
    """All parts within, each before what it consists of."""
    for part in parts:
        yield part
        yield from every(inside(part))


def nodes_of(parts: Sequence[Part]) -> Iterator[Node]:
    """The operators, in the order of their evaluation."""
    return (part for part in every(parts) if isinstance(part, Node))


def blocks_of(parts: Sequence[Part]) -> Iterator[BlockUse]:
    """The blocks, in the order of their evaluation."""
    return (part for part in every(parts) if isinstance(part, BlockUse))
