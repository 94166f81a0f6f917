"""The network that is compared with others: what a search found, the space it comes from, its costs and its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dnas.cost import ledger
from dnas.cost.budget import Budget, parse_budget
from dnas.cost.latency import latency_cost
from dnas.cost.latency_table import read_table
from dnas.data.load import Source
from dnas.data.reading import Reading
from dnas.errors import InputError
from dnas.files import plain, read_document
from dnas.files.sets import current
from dnas.grammar.catalogue import ARCHITECTURE, SUFFIXES, find_table, load_space
from dnas.graph import Graph, graph_of
from dnas.graph.architecture import architecture
from dnas.learning.image_size import search_side
from dnas.runs.folder import PROVENANCE, SPACE_FILE
from dnas.runs.recall import source_for
from dnas.runs.result import Result, read_result
from dnas.search.budget import BudgetedCost, measure
from dnas.space.space import Space
from dnas.train.folders import content

NO_BUDGET = Budget("MACs", "MACs", float("inf"))
"""What "its cost" means where the search had no budget."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network found, at its space's own input, and the space."""

    label: str
    """As it is called in tables."""
    found: Result
    space: Space
    budgets: tuple[Budget, ...]

    @cached_property
    def walked(self) -> Graph:
        return graph_of(self.space)

    @cached_property
    def measured(self) -> tuple[BudgetedCost, ...]:
        """The costs that count, as sums over the space's choices."""
        return tuple(measure(budget, self.walked, self.space) for budget in self.budgets)

    @cached_property
    def is_member(self) -> bool:
        """Whether the network found is one of the space as it is now; true where the options it took are not known."""
        taken = (self.found.space.extra or {}).get("choices_taken")
        if not isinstance(taken, Mapping):
            return True
        try:
            assignment = {choice.name: choice.options.index(taken[choice.name]) for choice in self.space.choices}
        except (KeyError, ValueError):
            return False
        return content(architecture(self.space, assignment).network) == content(self.found.space)

    @cached_property
    def costs(self) -> list[float]:
        """Of the network found, one for each budget."""
        return [cost_of(self.found.space, budget) for budget in self.budgets]

    def data_seed(self, seed: int) -> int:
        """What draws the test split of data without one."""
        return self.found.data_seed(seed)

    def data(self, given: str | None, seed: int, *, reading: Reading, new_classes: bool) -> Source:
        """The data of all trainings; see `dnas.runs.recall.source_for`."""
        return source_for(self.found, given, seed=self.data_seed(seed), reading=reading, new_classes=new_classes)

    def side(self, data: Source, asked: int | None) -> int:
        """The side, in pixels, of the images for the space's largest resolution: as asked, else as in the search."""
        if asked is None and self.found.preprocessing is not None:
            return self.found.preprocessing.side
        return search_side(self.space, data, asked, self.space.resolution.max())[0]

    def share(self, resolution: int, side: int) -> int:
        """The side of the images for a network of this resolution, where the space's largest has `side`."""
        return max(1, round(resolution * side / self.space.resolution.max()))


def read_subject(run: str, space: str | None) -> Subject:
    """The network found and its space.

    Args:
        run: a search's result folder or an architecture.
        space: name or file of the space; the one that the search recorded if None.

    Raises:
        InputError: no such architecture, the result of a training, no space known, a space without choices or another
            one than that of the search.
    """
    found = read_result(run)
    extra = found.space.extra or {}
    if "training" in extra:
        raise InputError(run, "the result of a training, counted at the images' own size",
                         accepted="the result folder of the search")  # fmt: skip
    search = extra.get("search")
    record: Mapping[str, Any] = search if isinstance(search, Mapping) else {}
    whole = _space_of(run, found, record, space)
    budgets = tuple(parse_budget(text) for text in _budget_texts(run, record))
    return Subject(label(run), found, whole, budgets or (NO_BUDGET,))


def cost_of(network: Space, budget: Budget) -> float:
    """Cost of an architecture, in the budget's unit; raises `UserError` for blocks that a latency table lacks."""
    if budget.kind == "ms":
        return ledger.at(latency_cost(network, read_table(find_table(budget.table or ""))).cost, {})
    return ledger.at(ledger.COSTS[budget.kind](graph_of(network).ledger), {})


def _space_of(run: str, found: Result, record: Mapping[str, Any], given: str | None) -> Space:
    """The space that the user names, else the one searched: that which the search made, the file that was read, or one
    of the recorded name."""
    made = Path(found.space.source).parent / SPACE_FILE
    own = str(made) if os.path.isfile(current(made)) else None
    names = [given] if given is not None else [own, _space_file(found), record.get("space")]
    known = [name for name in names if isinstance(name, str)]
    if not known:
        raise InputError(run, "no search is recorded with it", accepted="--space with the space that it comes from")
    other = ""
    for name in known:
        try:
            space = load_space(name, found.space.classes)
        except InputError:
            if given is not None:
                raise
            continue
        if space.is_architecture:
            raise InputError(space.source, "an architecture, with nothing to draw from", accepted="a space")
        if record.get("options", own := _options(space)) == own:
            return space
        other = f": {space.source} has other choices"
    raise InputError(run, f"the space that was searched, '{known[-1]}', is not found{other}",
                     accepted="--space with its file")  # fmt: skip


def _options(space: Space) -> dict[str, list[Any]]:
    """As a search records them."""
    return plain({choice.name: list(choice.options) for choice in space.choices})


def _space_file(found: Result) -> str | None:
    """The file that the search read, where it is recorded beside its result and is still there."""
    file = Path(found.space.source).parent / PROVENANCE
    if not current(file).is_file():
        return None
    data = read_document(file).data
    name = data.get("space_file") if isinstance(data, dict) else None
    return name if isinstance(name, str) and os.path.isfile(name) else None


def _budget_texts(run: str, record: Mapping[str, Any]) -> list[str]:
    """The budgets of a search; of a member of a family, its own."""
    rows = record.get("budgets", [record] if "budget" in record else [])
    texts = [row.get("budget") if isinstance(row, Mapping) else None for row in rows] if isinstance(rows, list) else []
    if not isinstance(rows, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{run}: search.budgets", "not a list of budgets", found=rows)
    return [str(text) for text in texts]


def label(name: str) -> str:
    """The last part of a path that says something; a name as it is."""
    path = Path(os.path.abspath(name)) if not Path(name).name else Path(name)
    if path.name == ARCHITECTURE and path.parent.name:
        return path.parent.name
    return path.stem if path.suffix in SUFFIXES else path.name
