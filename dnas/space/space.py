"""A search space in memory: nodes with fields, the choices among them, and what must hold between choices.

An architecture is a `Space` without choices. `dnas.grammar.read` makes both from files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dnas.files import Document
from dnas.space.expr import Expression
from dnas.space.quantity import Choice, Quantity
from dnas.space.quantized import Quantized


@dataclass(frozen=True, eq=False)
class Block:
    """One block: its kind and fields. A formula over the block's own input stays an `Expression` until it is met."""

    path: str
    kind: str
    fields: Mapping[str, Quantity | Expression]
    scope: Mapping[str, Quantity]
    where: str


@dataclass(frozen=True, eq=False)
class OneOf:
    """A choice between whole blocks, one branch an option."""

    path: str
    choice: Choice
    branches: tuple[Node, ...]
    where: str


@dataclass(frozen=True, eq=False)
class Stage:
    """Repeated blocks of which the first `depth` exist."""

    path: str
    blocks: tuple[Node, ...]
    depth: Quantity
    where: str


Node = Block | OneOf | Stage


@dataclass(frozen=True, eq=False)
class Space:
    """A search space, or (without choices) an architecture."""

    name: str
    about: str
    document: Document
    channels: int
    classes: int
    resolution: Quantity
    choices: tuple[Choice, ...]
    nodes: tuple[Node, ...]
    constraints: tuple[Quantity, ...] = ()
    strategy: str | None = None
    """Name of the search algorithm that the file suggests; any other works as well."""
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Path of an operator -> which of its channels are left, of an architecture that was pruned."""
    keep_tokens: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Path of a block -> which tokens go on after it, numbered as they enter the first one."""
    quantization: Mapping[str, Quantized] = field(default_factory=dict)
    """Path of an operator -> how its numbers are quantised."""
    gates: tuple[str, ...] = ()
    """Paths of operators behind whose results stands a learned factor a channel, of an architecture to be pruned."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the trainings that a joint search tries, as the file has them; the training says what they may be."""
    extra: Mapping[str, Any] | None = None
    """What an exported architecture says of itself: costs, how it was found, preprocessing."""
    places: Mapping[str, tuple] = field(default_factory=dict)
    """Choice name -> where its options stand in the document; those of a template stand there once for all uses."""

    @property
    def source(self) -> str:
        """The file it was read from, for messages."""
        return self.document.path

    @property
    def is_architecture(self) -> bool:
        return not self.choices

    def choice(self, name: str) -> Choice:
        return next(c for c in self.choices if c.name == name)

    def blocks(self) -> Iterator[Block]:
        """Every block that can exist, in network order."""
        return (node for node in _all(self.nodes) if isinstance(node, Block))

    def block_choices(self) -> tuple[Choice, ...]:
        """The choices between whole blocks, in network order."""
        return tuple(node.choice for node in _all(self.nodes) if isinstance(node, OneOf))


def _all(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        match node:
            case OneOf():
                yield from _all(node.branches)
            case Stage():
                yield from _all(node.blocks)
