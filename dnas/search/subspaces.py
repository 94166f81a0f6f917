"""The subspaces of a space: for each dimension and stage the list of choices that its blocks share (S3, section 3.2).

A stage is a run of blocks of the file whose maps have one side and one set of widths. A dimension is a field, or a
choice with a name of its own. Blocks of a stage whose lists of a field are equal have one subspace, with a gene each.
Only lists of numbers have an order and can move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from dnas.blocks import KINDS
from dnas.grammar.edit import Item, item_of
from dnas.graph import Graph
from dnas.graph.graph import BlockUse
from dnas.space.quantity import Choice, Option, Quantity
from dnas.space.space import Space


@dataclass(frozen=True)
class Subspace:
    """One list of choices."""

    name: str
    """`stage 2 heads`; `w2`."""
    stage: int | None
    """None of a choice that blocks of several stages share."""
    dimension: str
    options: tuple[Option, ...]
    """In the order of the file."""
    choices: tuple[str, ...]
    """The genes: of each block that has the list, its own."""

    @property
    def numeric(self) -> bool:
        """Whether the choices are numbers."""
        return all(isinstance(o, int | float) and not isinstance(o, bool) for o in self.options)


class Subspaces(NamedTuple):
    """Those of a space, in its order."""

    all: tuple[Subspace, ...]
    stages: dict[Item, int]
    """The stage of each block of the file, from 1."""


def subspaces(space: Space, walked: Graph) -> Subspaces:
    """The subspaces of a space, whose graph is `walked`."""
    stages = stages_of(space, walked)
    groups: dict[tuple[Any, ...], list[Choice]] = {}
    for choice in space.choices:
        place = space.places[choice.name]
        if place[0] in ("choices", "input"):
            key = (_stage_of(choice, space, walked, stages), choice.name, ())
        else:
            key = (stages[item_of(choice.name)], choice.name.split(".")[-1], choice.options)
        groups.setdefault(key, []).append(choice)
    lists: dict[tuple[Any, ...], int] = {}
    found = []
    for (stage, dimension, _), choices in groups.items():
        number = lists[stage, dimension] = lists.get((stage, dimension), 0) + 1
        name = dimension if choices[0].name == dimension else f"stage {stage} {dimension}"
        name += f" ({number})" if number > 1 else ""
        found.append(Subspace(name, stage, dimension, choices[0].options, tuple(c.name for c in choices)))
    return Subspaces(tuple(found), stages)


def stages_of(space: Space, walked: Graph) -> dict[Item, int]:
    """The stage of each block of the file: another side, or another set of widths, begins the next one."""
    data, last = space.document.data, _last_uses(walked)
    stages: dict[Item, int] = {}
    number, former, side = 0, None, None
    for section in ("trunk", "head"):
        for n in range(len(data.get(section) or [])):
            use = last.get((section, n))
            if use is not None:
                # Tokens have no side: they are of the stage whose map they come from.
                side = side if use.main.side is None else tuple(use.main.side.table.reshape(-1).tolist())
                shape = (section, side, tuple(sorted(use.main.channels.values())))
                number, former = number + (shape != former), shape
            stages[section, n] = max(1, number)
    return stages


def sides(subspace: Subspace, walked: Graph) -> set[int]:
    """Sides of the maps that the subspace's choices cut into parts (`Field.tiles`); empty where they cut none."""
    names, found = set(subspace.choices), set[int]()
    for use in walked.uses:
        for field, value in use.fields.items():
            tiles = field in KINDS[use.kind].fields and KINDS[use.kind].fields[field].tiles
            if tiles and use.side_in is not None and names & {choice.name for choice in value.over}:
                found |= set(use.side_in.values())
    return found


def _last_uses(walked: Graph) -> dict[Item, BlockUse]:
    return {item_of(use.path): use for use in walked.uses}


def _stage_of(choice: Choice, space: Space, walked: Graph, stages: dict[Item, int]) -> int | None:
    """The stage of all blocks that name a choice, or that it leaves out; None where they are of several."""
    paths = {
        block.path for block in space.blocks() for value in block.fields.values()
        if isinstance(value, Quantity) and choice in value.over
    }  # fmt: skip
    paths |= {use.path for use in walked.uses if choice in use.given.over}
    found = {stages[item_of(path)] for path in paths}
    return found.pop() if len(found) == 1 else None
