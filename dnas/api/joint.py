"""A search of architecture and training recipe together, from Python: `dnas.run_search(..., strategy="joint")`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dnas.api.arrays import as_a_file
from dnas.api.results import JointResult, Place, opened
from dnas.data.load import Data
from dnas.data.reading import Reading
from dnas.errors import InputError
from dnas.fanout.choose import HERE, chosen
from dnas.joint.request import requested
from dnas.joint.run import run_joint
from dnas.joint.stages import Plan
from dnas.process.console import console
from dnas.runs.folder import Claiming
from dnas.space.space import Space

OF_PLAN = ("trainings", "rounds", "winners")
OF_RECIPE = ("epochs", "batch_size")
SETTINGS = (*OF_PLAN, *OF_RECIPE, "fill", "recipe", "precision", "workers", "fanout")


def searched_jointly(
    space: Space, place: Place, *, data: Data | None, budgets: Sequence[str], family: str | None, seed: int,
    image_size: int | None, reading: Reading, overwrite: bool, quiet: bool, others: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> JointResult:  # fmt: skip
    """Searches as `--strategy joint` of the command does; `others` are arguments that mean nothing here, with what they
    are where they are not given.

    Raises:
        InputError: one of `others` is given, or a setting is none of this strategy's; and what the command refuses.
    """
    for name, (value, otherwise) in others.items():
        if value != otherwise:
            raise InputError(name, "not of strategy 'joint'", found=value)
    for name in settings:
        if name not in SETTINGS:
            raise InputError(name, "not of strategy 'joint'", found=settings[name], accepted=", ".join(SETTINGS))
    plan = Plan(**{n: settings[n] for n in OF_PLAN if settings.get(n) is not None}).validated()
    pool = chosen(settings.get("workers"), settings.get("fanout") or HERE, alone=False)
    shown = console(quiet)
    with as_a_file(data, place.path, seed) as file:
        given = requested(
            space, recipe=os.fspath(settings.get("recipe") or "quick"),
            values={name: settings.get(name) for name in OF_RECIPE}, budgets=budgets, family=family, plan=plan,
            fill=settings.get("fill"), data=file, image_size=image_size, reading=reading, seed=seed, console=shown,
            precision=settings.get("precision"),
        )  # fmt: skip
        run_joint(given, place.path, pool, shown, Claiming(overwrite=overwrite), commands=False)
    return opened(place, data)
