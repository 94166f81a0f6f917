"""The member of a space that is nearest to a known design, within budgets.

Blocks of both are paired by place: in each section (trunk, head) and total stride the first with the first, and so on.
The distance of two blocks is the sum of their fields' distances: |log((a + 1) / (b + 1))| of numbers, so that 0 is
allowed, `OTHER` of flags and names that differ. It is a sum of tables over a few choices each, so the solver that
derives architectures finds the nearest member exactly, also under budgets: a published network of 238 MFLOPs scaled
into 200.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dnas.blocks import KINDS
from dnas.cost.ledger import Cost
from dnas.grammar.catalogue import load_space, published_names
from dnas.graph import BlockUse, Graph, graph_of
from dnas.ops.tensor import leaves
from dnas.solve.constrained import most_probable
from dnas.solve.elimination import optimum
from dnas.solve.relevance import size_factors
from dnas.space.quantity import Product, Quantity
from dnas.space.space import Node, OneOf, Space, Stage

OTHER = 0.3
"""Distance of two flags or names that differ."""
OTHER_KIND = 2.0
"""Distance of two blocks of different kinds, and of a block and none."""
ALIKE = 0.75
"""Largest mean distance, over the places of the space, of a published design that is still a design of it."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """A member of a space, and how far it is from the design."""

    assignment: dict[str, int]
    distance: float
    filled: bool
    """Whether a budget is used as far as was asked for."""


class Neighbourhood:
    """Distances from designs to the members of a space, and the nearest of these.

    `walked` is the graph of the space.
    """

    def __init__(self, space: Space, walked: Graph):
        self.space, self._places = space, _groups(space, walked)
        self.places = sum(map(len, self._places.values()))
        self._spelling = size_factors(space, walked)  # one spelling of each architecture

    def distance(self, design: Space) -> float:
        """From a design to the nearest member, whatever it costs, in what the choices can change."""
        return -optimum([*self._spelling, *self._likeness(design)], "max", self.space.constraints)[0]

    def nearest(self, design: Space, costs: Sequence[Cost], limits: Sequence[float], *, fill: float = 0.97) -> Nearest:
        """The member nearest to an architecture, with every cost at most its limit.

        Args:
          design: a space without choices.
          costs: one sum of products for each limit.
          fill: least share of one limit that is used; 0 for upper limits alone.

        Raises `UserError` where the limits cannot be met.
        """
        scores = [*self._spelling, *self._likeness(design)]
        found = most_probable(scores, costs, limits, fill=fill, constraints=self.space.constraints)
        return Nearest(found.assignment, -found.score, found.filled)

    def _likeness(self, design: Space) -> list[Quantity]:
        """Minus the distance of each field from the design's, as tables over the space's choices."""
        its = _groups(design, graph_of(design))
        terms = [_apart(self.space.resolution, design.resolution.value)]
        for group, places in self._places.items():
            blocks = its.get(group, [])
            for n, options in enumerate(places):
                terms += _of_place(options, blocks[n][0] if n < len(blocks) else None)
        return [-1 * term for term in terms if not term.is_constant]  # what no choice changes tells no member apart


def scaled_designs(
    space: Space, walked: Graph, costs: Sequence[Cost], limits: Sequence[float], *, fill: float = 0.97
) -> Iterator[tuple[str, dict[str, int]]]:
    """The published designs that are alike, scaled into the limits: the space's own family first, then the most alike.

    Each is its published name and the member of the space nearest to it (`Neighbourhood.nearest`).
    """
    kinds = {block.kind for block in space.blocks()}
    around, ranked = Neighbourhood(space, walked), []
    for name in published_names():
        design = load_space(name)
        if {block.kind for block in design.blocks() if block.path.startswith("trunk")} <= kinds:
            ranked.append((_family(name) != _family(space.name), around.distance(design) / around.places, name, design))
    for _, apart, name, design in sorted(ranked, key=lambda entry: entry[:3]):
        if apart <= ALIKE:
            yield name, around.nearest(design, costs, limits, fill=fill).assignment


def _family(name: str) -> str:
    """`fbnetv2` of `fbnetv2_f4`."""
    return name.partition("_")[0]


def _of_place(options: Sequence[BlockUse], wanted: BlockUse | None) -> Iterator[Quantity]:
    """Distances of what may stand at one place from the block wanted there (None: no block)."""
    there = Quantity.constant(0)
    for use in options:
        there = there + use.given
        if wanted is None:
            if use.kind != "skip":
                yield OTHER_KIND * use.given
        elif use.kind != wanted.kind:
            yield OTHER_KIND * use.given
        if wanted is not None:
            for name, field in KINDS[use.kind].fields.items():
                if field.written == "never" or field.part_of is not None or name not in wanted.fields:
                    continue
                apart = _apart(use.effective[name], wanted.effective[name].value)
                yield Product(use.given, apart).joint()
    if wanted is not None:
        yield OTHER_KIND * (1 - there)


def _apart(mine: Quantity, wanted: Any) -> Quantity:
    """The distance of a field from the value wanted."""

    def apart(value: Any) -> float:
        if isinstance(value, bool | str) or isinstance(wanted, bool | str):
            return OTHER * (value != wanted)
        return abs(math.log((value + 1) / (wanted + 1)))

    return Quantity.combine(apart, mine)


def _groups(space: Space, walked: Graph) -> dict[tuple[str, int], list[list[BlockUse]]]:
    """(trunk or head, how often the map was halved; -1 without a map) -> the places after which it is so, in order,
    each with the blocks that may stand there."""
    uses = {use.path: use for use in walked.uses}
    groups: dict[tuple[str, int], list[list[BlockUse]]] = {}
    for paths in _places(space.nodes):
        options = [uses[path] for path in paths if path in uses]
        if not options:
            continue
        side = leaves(options[0].out)[0].side
        halved = -1 if side is None else round(math.log2(space.resolution.max() / side.max()))
        groups.setdefault((options[0].path.split(".")[0], halved), []).append(options)
    return groups


def _places(nodes: Sequence[Node]) -> Iterator[list[str]]:
    """For each place in the network, the paths of the blocks that may stand there."""
    for node in nodes:
        match node:
            case Stage():
                yield from _places(node.blocks)
            case OneOf():
                yield [path for branch in node.branches for paths in _places([branch]) for path in paths]
            case _:
                yield [node.path]
