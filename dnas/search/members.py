"""The members of a family: searches within budgets of their own that share weights and batches.

A member is a problem like any other. What is drawn, learned and projected of its choices is its own; the weights are
those of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from dnas.errors import UserError
from dnas.search.problem import Problem
from dnas.search.settings import AIM

LEAST_IMAGES = 4
"""Of a batch for each member: fewer say little of a norm's moments."""
LEAST_FINALISTS = 3
"""Of a member: the most probable network, a published design and one that is drawn."""


def members_of(problem: Problem) -> tuple[Problem, ...]:
    """The problem of each network of the family, the loosest budget first.

    All keep the budgets that the family has in common. Where the settings name no least share of a budget that is used,
    it is what searches aim at: a family is there to cover its budgets. The race is shared out.
    """
    s, common = problem.settings, problem.measured[:-1]
    finalists = max(min(LEAST_FINALISTS, s.finalists), math.ceil(s.finalists / len(problem.family)))
    own = replace(s, finalists=finalists, fill=AIM if s.fill is None else s.fill)
    return tuple(replace(problem, measured=(*common, measured), settings=own, family=()) for measured in problem.family)


def limits_of(members: Sequence[Problem]) -> Float[np.ndarray, "members budgets"]:
    """Every member's budgets."""
    return np.stack([member.limits for member in members])


def in_shares(problem: Problem) -> Problem:
    """The problem with batches that all members get as many images of, at least `LEAST_IMAGES`.

    There are as many passes over the data as before, and so fewer steps where the batches are larger. The number of
    devices changes nothing: a run that is continued on another number has the same steps.
    """
    batch_size = share_of(problem) * len(problem.family)
    return replace(problem, settings=replace(problem.settings, batch_size=batch_size))


def share_of(problem: Problem) -> int:
    """Images of a batch for each member."""
    return max(LEAST_IMAGES, round(problem.settings.batch_size / len(problem.family)))


def images_on_a_device(problem: Problem) -> int:
    """Images of a batch that a device computes with at most.

    Of a family each share is divided among the devices by itself; a search from network to network has no shares.
    """
    on, size, count = problem.devices, problem.settings.batch_size, len(problem.family)
    return max(on.share(size), count * on.share(share_of(problem)) if count else 0)


def check(problem: Problem, strategy: str) -> None:
    """Raises `UserError` for what a family cannot be searched with."""
    if problem.start is not None:
        raise UserError(f"--start: --strategy {strategy} begins at no design with --family; leave one of them out")


def notes(asked: Problem, done: Problem) -> tuple[str, ...]:
    """How batches are shared out; `asked` is the problem as it was before `in_shares`."""
    count, size, used = len(done.family), asked.settings.batch_size, done.settings.batch_size
    share = used // count
    other = f"; batches are of {used:,} images, {size:,} were asked for" if used != size else ""
    line = f"a family of {count} networks with one set of weights: {share} images of a batch for each{other}"
    return (line, *done.devices.note(share, "share"))
