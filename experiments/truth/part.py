"""The parts of the bench: spaces that are trained whole, and the tables that hold what every member reached.

A member is a tuple of option indices in the order of the space's choices; of spellings of one network the one that
`dnas.solve.relevance.canonical` gives. A table is `PART.csv`, a line a member; `PART.json` beside it says how it was
made.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnas.cost import ledger
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.graph import graph_of
from dnas.solve.many import Constraints, Costs
from dnas.solve.relevance import canonical, first_of_same
from dnas.space.quantity import Quantity
from dnas.space.space import Space

HERE = Path(__file__).parent
Member = tuple[int, ...]
FILL = 0.7
"""A budget's band is the members whose cost is at least this share of it."""


@dataclass(frozen=True)
class Part:
    """A space, the budgets under which it is searched, and how long trainings and searches are."""

    name: str
    budgets: tuple[str, ...]
    seeds: int
    """Trainings of each member."""
    search_epochs: float
    """Of a search on the 3,200 images that teach the weights."""

    @property
    def space_file(self) -> Path:
        return HERE / f"{self.name}.yaml"

    @property
    def table_file(self) -> Path:
        return HERE / f"{self.name}.csv"

    def space(self) -> Space:
        return load_space(str(self.space_file))


PARTS = {
    part.name: part
    for part in (
        Part("blocks", ("60kMACs", "130kMACs", "250kMACs"), seeds=2, search_epochs=6.6),
        Part("widths", ("140kMACs", "230kMACs", "350kMACs"), seeds=2, search_epochs=6.6),
    )
}


@dataclass(frozen=True, eq=False)
class Members:
    """Every network of a space, each in one spelling, with its cost."""

    space: Space
    rows: np.ndarray
    """[members, choices] option indices."""
    macs: np.ndarray
    """[members] multiply-adds."""
    first: Mapping[str, Quantity]
    """Which options are the same (`dnas.solve.relevance`)."""

    @property
    def names(self) -> list[Member]:
        return [tuple(row) for row in self.rows.tolist()]

    def number(self, assignment: Mapping[str, int]) -> int:
        """The member that an assignment means, however it is spelled."""
        spelled = canonical(self.first, assignment)
        return self.names.index(tuple(spelled[c.name] for c in self.space.choices))

    def options(self, member: Member) -> list[str]:
        """What the member takes for each choice, as text."""
        return [str(c.options[n]) for c, n in zip(self.space.choices, member, strict=True)]


def members(space: Space) -> Members:
    """All of a space's networks, in the order of their options."""
    walked = graph_of(space)
    first, choices = first_of_same(space, walked), space.choices
    rows = np.array(list(itertools.product(*(range(len(c)) for c in choices))), int)
    rows = rows[Constraints(space.constraints, choices)(rows)]
    spelled = [canonical(first, dict(zip((c.name for c in choices), row, strict=True))) for row in rows.tolist()]
    rows = np.unique([list(s.values()) for s in spelled], axis=0)
    return Members(space, rows, Costs([ledger.macs(walked.ledger)], choices)(rows)[:, 0].astype(int), first)


def written(of: Members, accuracies: Mapping[Member, list[float]]) -> str:
    """The table as text; members that were not trained yet are left out."""
    most = max((len(values) for values in accuracies.values()), default=0)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*(c.name for c in of.space.choices), "macs", *(f"accuracy_{seed}" for seed in range(most))])
    for member, macs in zip(of.names, of.macs.tolist(), strict=True):
        if member in accuracies:
            out.writerow([*of.options(member), macs, *(f"{value:.5f}" for value in accuracies[member])])
    return text.getvalue()


def read(of: Members, file: Path) -> dict[Member, list[float]]:
    """Accuracies of the members in a table, a number a training; empty where there is no table.

    Raises:
        InputError: a row that is no member of the space, or whose cost is another.
    """
    if not file.is_file():
        return {}
    known = {tuple(of.options(member)): n for n, member in enumerate(of.names)}
    width, found = len(of.space.choices), {}
    header, *lines = csv.reader(io.StringIO(file.read_text()))
    if header[:width] != [c.name for c in of.space.choices]:
        raise InputError(str(file), "the columns are not the choices of the space", found=", ".join(header[:width]))
    for number, line in enumerate(lines, 2):
        n = known.get(tuple(line[:width]))
        if n is None or line[width] != str(of.macs[n]):
            raise InputError(f"{file}:{number}", "not a member of the space", found=", ".join(line[: width + 1]))
        found[of.names[n]] = [float(value) for value in line[width + 1 :] if value]
    return found
