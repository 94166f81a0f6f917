"""What a strategy is given: the space, the network it trains, the data, the budgets.

The budgets count the space's own input; the supernet is built for the data's channels, classes and side
(`dnas.learning.image_size`). Where these are others than the space's own, the search is done by proxy: resolution
options keep their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dnas.cost.budget import Budget
from dnas.data.batches import repeats, steps_of
from dnas.data.dataset import Dataset
from dnas.data.preprocess import Preprocessing, preprocessing_for
from dnas.data.splits import Split, search_split
from dnas.grammar.read import at_input
from dnas.graph import Graph, check_scores, graph_of
from dnas.learning.image_size import proxy_side
from dnas.learning.losses import of_labels
from dnas.learning.terms import Term
from dnas.nn.expected import ExpectedCosts
from dnas.nn.gates import Layout
from dnas.process.devices import ONE, Devices
from dnas.process.precision import Precision, chosen
from dnas.search.budget import BudgetedCost, check, measure
from dnas.search.settings import Settings
from dnas.space.space import Space


@dataclass(frozen=True, eq=False)
class Problem:
    """Static facts of one search."""

    space: Space
    walked: Graph
    """The graph of `space` at its own input."""
    proxy: Space
    """The same choices on the data's images."""
    layout: Layout
    measured: tuple[BudgetedCost, ...]
    expected: ExpectedCosts
    dataset: Dataset
    split: Split
    preprocessing: Preprocessing
    settings: Settings
    seed: int
    family: tuple[BudgetedCost, ...] = ()
    """Budgets that have a network each, from the loosest to the tightest, which is the last of `measured` too."""
    adapted: tuple[str, ...] = ()
    """Settings that are not those asked for, to keep within a limit of memory."""
    start: dict[str, int] | None = None
    """The architecture at which the choices begin (`dnas.search.start`); None where all options begin alike."""
    more_terms: tuple[Term, ...] = ()
    """Of the loss, beside cross-entropy."""
    former: tuple[dict[str, Any], ...] = ()
    """What the search learned in the spaces before this one, as JSON values; empty of most searches, which have one."""
    devices: Devices = ONE
    """What it computes on."""

    @property
    def steps(self) -> int:
        """Of the settings' epochs on this data; raises `InputError` for too many."""
        s = self.settings
        return max(2, math.ceil(steps_of(s.epochs, len(self.split.weights_index), s.batch_size)))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of the loss of weights and choices."""
        return (of_labels(), *self.more_terms)

    @property
    def precision(self) -> Precision:
        """In which steps compute."""
        return chosen(self.settings.precision)

    @property
    def limits(self) -> np.ndarray:
        return np.array([m.budget.limit for m in self.measured], np.float32)


def make_problem(
    space: Space, budgets: Sequence[Budget], dataset: Dataset, settings: Settings, seed: int,
    family: Sequence[Budget] = (),
) -> Problem:  # fmt: skip
    """Checks the budgets, then builds the proxy; raises `UserError` where a budget is out of reach.

    The tightest of `family` is one more budget of the search; every network of the family keeps `budgets` too.
    """
    family = sorted(family, key=lambda b: -b.limit)
    budgets = [*budgets, *family[-1:]]
    walked = graph_of(space)
    check_scores(space)
    measured = tuple(measure(b, walked, space) for b in budgets)
    check(list(measured), space.constraints)
    layout = Layout(space.choices)
    settings = replace(settings, precision=chosen(settings.precision))
    side = settings.side or proxy_side(space, walked, dataset.side)
    preprocessing = preprocessing_for(dataset, side=side)
    expected = ExpectedCosts([m.cost for m in measured], layout, by_sizes=settings.costs == "paper")
    proxy = at_input(space, channels=preprocessing.channels, classes=dataset.classes, side=side)
    check_scores(proxy, dataset.classes)
    split = search_split(dataset, seed)
    steps_of(settings.epochs, len(split.weights_index), settings.batch_size)  # refuses too many, before any work
    return Problem(
        space, walked, proxy, layout, measured, expected, dataset, split, preprocessing, settings, seed,
        tuple(measure(b, walked, space) for b in family),
    )  # fmt: skip


def anew(problem: Problem, space: Space, settings: Settings) -> Problem:
    """The same problem in another space; raises `UserError` where that cannot be built, or a budget is out of reach."""
    space = at_input(space, classes=problem.space.classes)
    made = make_problem(space, [m.budget for m in problem.measured], problem.dataset, settings, problem.seed)
    graph_of(made.proxy)
    kept = {name: getattr(problem, name) for name in ("adapted", "more_terms", "former", "devices")}
    return replace(made, **kept)


def scaled(problem: Problem, space: Space) -> Settings:
    """The settings with sides of images for another space, as its largest resolution is to that of the problem's."""
    largest, before = space.resolution.max(), problem.space.resolution.max()
    if largest == before:
        return problem.settings
    return replace(problem.settings, side=max(1, round(problem.proxy.resolution.max() * largest / before)))


def proxy_notes(problem: Problem) -> list[str]:
    """What the search does otherwise than a reader may think, in sentences."""
    space, proxy, data = problem.space, problem.proxy, problem.dataset
    notes = repeats(len(problem.split.weights_index), problem.settings.batch_size)
    notes += problem.devices.note(problem.settings.batch_size)
    if problem.precision != "float32":
        notes.append(f"steps compute in {problem.precision}, evaluations in float32")
    if space.recipe:
        notes.append("the space's 'recipe' is left alone: only --strategy joint searches it")
    own = (space.resolution.max(), space.channels, space.classes)
    used = (problem.preprocessing.side, problem.preprocessing.channels, data.classes)
    if own != used:
        notes.append(
            f"searched by proxy: {data.name} at {used[0]} px, {used[1]} channel(s), {used[2]} classes; "
            f"budgets count the space's own {own[0]} px, {own[1]} channels, {own[2]} classes"
        )
    if not space.resolution.is_constant:
        options = space.resolution.table.reshape(-1).tolist()
        sides = proxy.resolution.table_over(space.resolution.over)
        sides = np.broadcast_to(sides, space.resolution.table.shape).reshape(-1).tolist()
        if used[0] != own[0]:
            notes.append(
                "resolutions by proxy: " + ", ".join(f"{a} as {b}" for a, b in zip(options, sides, strict=True))
            )
        same = [[a for a, b in zip(options, sides, strict=True) if b == s] for s in dict.fromkeys(sides)]
        notes += [f"options that coincide by proxy: {group}" for group in same if len(group) > 1]
    return notes
