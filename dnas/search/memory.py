"""The memory of a search, known before anything is compiled, and what is chosen to keep it below a limit.

Counted is what lies on a device: the arrays of the search, and whichever of its programs needs the most. The process
itself and the data in its memory come on top (about half a gigabyte on a CPU).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from dnas.errors import UserError
from dnas.nn.memory import Mode, backward_floats, forward_floats
from dnas.nn.wing import forms_in, wing
from dnas.process import free_memory
from dnas.process.memory_amounts import told_apart
from dnas.process.precision import BYTES
from dnas.search.candidates import ROWS, lanes_of
from dnas.search.learn import packing_of
from dnas.search.members import LEAST_IMAGES, images_on_a_device
from dnas.search.problem import Problem
from dnas.search.settings import Settings
from dnas.search.strategies import race_in_turn

FLOAT = 4
"""Bytes of a number."""
LEAST_BATCH = 4
"""A step on fewer images says little of a norm's moments."""


class Memory(NamedTuple):
    """Bytes."""

    learn: int
    """The program that learns from a batch: its arguments, results and temporary memory."""
    assess: int
    """The program that evaluates a batch, of as many networks at a time as the strategy compares side by side."""
    beside: int
    """What lies beside a running program: the optimiser's state, what a race keeps, a checkpoint being written."""

    @property
    def total(self) -> int:
        return max(self.learn, self.assess) + self.beside


def estimate(problem: Problem, strategy: str) -> Memory:
    """Memory of a search, from its space, batch, modes and strategy."""
    s, space = problem.settings, problem.proxy
    packing = packing_of(problem)
    (params, used), (statistics, _) = (packing.floats(group) for group in ("params", "batch_stats"))
    steps = Mode(
        s.paths or None, s.resolution_paths or None, s.low_memory, forms_in(problem.precision, problem.devices)
    )
    mode = replace(steps, forms=wing(problem.devices).forms)
    image = problem.dataset.side**2 * problem.dataset.channels
    batch, assessed = images_on_a_device(problem), problem.devices.share(s.assess_batch)
    learn = BYTES[problem.precision] * backward_floats(space, steps, batch) + batch * image
    # A lane has its own gates, so what it makes of the weights is its own too.
    lane = forward_floats(space, mode, assessed) + used + 2 * statistics
    assess = FLOAT * lanes_of(problem, strategy) * lane + assessed * image
    # Weights, their momentum and statistics: one set learns, and a race in turn keeps another one. A checkpoint being
    # written copies every set; what lies beside the programs is this, what is kept, and the first set's momentum.
    sets = 2 if s.race and race_in_turn(strategy, bool(problem.family)) else 1
    # Parameters; what a step uses of them has a gradient, and each leaf's own part of it before they are joined.
    # Statistics of all rows go into the program that compares, and come out.
    return Memory(
        learn + FLOAT * (params + 2 * used + 2 * statistics),
        assess + FLOAT * (params + 2 * ROWS * statistics),
        FLOAT * (params + (sets - 1 + sets) * (2 * params + statistics)),
    )


def must_fit(problem: Problem, strategy: str, largest: int | None = None) -> None:
    """Raises `UserError`, with what to try, where the search needs more memory than is free.

    `largest` is what the largest of its programs needs in bytes, once they are compiled; the estimate if not given.
    """
    about = estimate(problem, strategy)
    need = about.total if largest is None else largest + about.beside
    s, images = problem.settings, len(problem.split.weights_index)
    of = f" (there are {images:,} images)" if s.batch_size > images else ""
    low = "" if s.low_memory else " --low-memory,"
    tries = (
        f"--batch-size below {s.batch_size:,}{of},{low} smaller images with --image-size, or a limit with --max-memory"
    )
    free_memory.check(need, "the search", tries)


def within(problem: Problem, limit: int, strategy: str) -> Problem:
    """The problem with settings whose memory is at most `limit` bytes; its `adapted` says what was changed.

    What saves memory is tried in a fixed order, that which changes a search the least first: fewer sampled paths, low
    memory, smaller batches, smaller batches of evaluations. Raises `UserError` where all of it is not enough.
    """
    asked, found, need = problem.settings, problem, estimate(problem, strategy).total
    while need > limit:
        tries = (replace(found, settings=replace(found.settings, **change)) for change in _changes(found))
        saving = next((t for t in tries if estimate(t, strategy).total < need), None)
        if saving is None:
            changed = ", ".join(_described(asked, found.settings))
            least, most = told_apart(need, limit)
            with_changes = f" with {changed}" if changed else ""
            raise UserError(
                f"--max-memory: the search needs at least {least}{with_changes}, and the limit is {most}; raise it "
                "or search smaller images with --image-size"
            )
        found, need = saving, estimate(saving, strategy).total
    return replace(found, adapted=tuple(_described(asked, found.settings)))


def _changes(problem: Problem) -> Iterator[dict[str, Any]]:
    """One step of each way to need less, in order."""
    s, space = problem.settings, problem.proxy
    sampled = {"resolution_paths": space.resolution.over, "paths": space.block_choices()}
    for count in (2, 1):
        for field, choices in sampled.items():
            if choices and (getattr(s, field) or math.inf) > count:
                yield {field: count}
    if not s.low_memory:
        yield {"low_memory": True}
    batch = max(LEAST_BATCH, LEAST_IMAGES * len(problem.family))  # a family raises smaller ones again
    for field, least in (("batch_size", batch), ("assess_batch", LEAST_BATCH)):
        if getattr(s, field) > least:
            yield {field: max(least, getattr(s, field) // 2)}


def _described(asked: Settings, chosen: Settings) -> list[str]:
    """Every setting that differs."""
    before, after = asked.to_json(), chosen.to_json()
    return [f"{name} {after[name]} for {before[name]}" for name in after if after[name] != before[name]]
