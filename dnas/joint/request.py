"""A joint search as it is asked for: checked before anything is trained, then put together and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnas.cost.budget import Budget, parse_budget, parse_family
from dnas.data.dataset import Dataset
from dnas.data.image_side import check_side
from dnas.data.load import scan
from dnas.data.reading import Reading
from dnas.errors import InputError
from dnas.graph import graph_of
from dnas.joint.pairs import Pairs
from dnas.joint.stages import Plan
from dnas.joint.trainings import Images
from dnas.learning.image_size import search_side
from dnas.process.precision import Precision, known
from dnas.process.progress import told
from dnas.process.seed import checked_seed
from dnas.search import budget
from dnas.space.space import Space
from dnas.train.job import place_of
from dnas.train.recipe import RecipeSpace, joined, read_recipe, with_values, without_choices

TRIED = 20_000
"""Recipes that are looked at before the search: fields may contradict each other."""


@dataclass(frozen=True, eq=False)
class Given:
    """Everything that a joint search follows from."""

    pairs: Pairs
    """Within what the coarse stage keeps to."""
    targets: tuple[Pairs, ...]
    """Within the budgets of each result."""
    recipes: RecipeSpace
    values: Mapping[str, Any]
    """Fields of every recipe that the command line states."""
    plan: Plan
    images: Images
    dataset: Dataset
    seed: int
    precision: Precision | None = None
    """In which steps of trainings compute; None: what suits the device of each."""


def requested(
    space: Space, *, recipe: str, values: Mapping[str, Any], budgets: Sequence[str], family: str | None,
    plan: Plan, fill: float | None, data: str | None, image_size: int | None, reading: Reading, seed: int, console: Any,
    precision: Precision | None = None,
) -> Given:  # fmt: skip
    """A joint search, whose arguments mean what the options of `dnas.cli.search` of the same names do.

    Raises `InputError` for a value that is not accepted, budgets out of reach, nothing to search.
    """
    check_side(image_size)
    if fill is not None and not (isinstance(fill, int | float) and 0 <= fill <= 1):
        raise InputError("--fill", "out of range", found=fill, accepted="0 to 1")
    seed = checked_seed(seed)
    limits, members = [parse_budget(text) for text in budgets], [] if family is None else parse_family(family)
    recipes = without_choices(joined(read_recipe(recipe), space), [k for k, v in values.items() if v is not None])
    if not space.choices and not recipes.choices:
        raise InputError(space.source, "neither architecture nor recipe has a choice", accepted="a space, or a recipe")
    _check(recipes, values)
    pairs, targets = _within(space, recipes, limits, members, fill or 0.0)
    source = scan(data, seed=seed, reading=reading)
    side = search_side(space, source, image_size, 64)[0]
    with told(console, "decoding images") as progress:
        dataset = source.load(side, why="", progress=progress)
    images = Images(place_of(dataset), reading.of(dataset), dataset.fingerprint, side, dataset.channels)
    return Given(pairs, targets, recipes, values, plan.validated(), images, dataset, seed, known(precision))


def _within(
    space: Space, recipes: RecipeSpace, limits: list[Budget], family: list[Budget], fill: float
) -> tuple[Pairs, tuple[Pairs, ...]]:
    """The pairs of the coarse stage, which has the largest budget of a family, and those of each result."""
    walked = graph_of(space)
    common = [budget.measure(limit, walked, space) for limit in limits]
    several = [[*common, budget.measure(limit, walked, space)] for limit in family] or [common]
    for measured in several:
        budget.check(measured, space.constraints)
    found = tuple(Pairs(space, walked, recipes.choices, tuple(measured), fill) for measured in several)
    for pairs in found:
        assert pairs.sampler is not None  # refuses a fill that no network has
    return max(found, key=lambda pairs: pairs.budgets[-1].budget.limit if pairs.budgets else 0.0), found


def _check(recipes: RecipeSpace, values: Mapping[str, Any]) -> None:
    """Raises `InputError` where fields of a recipe contradict each other, of all or of many drawn."""
    sizes = [len(choice) for choice in recipes.choices]
    total = np.prod(sizes, dtype=float)
    if total <= TRIED:
        rows = np.indices(sizes).reshape(len(sizes), int(total)).T
    else:
        rows = np.random.default_rng(0).integers(0, sizes, (TRIED, len(sizes)))
    for row in rows.tolist():
        with_values(recipes.at({c.name: n for c, n in zip(recipes.choices, row, strict=True)}), values)
