"""A search in several spaces, one after the other, each made of the one before (`Strategy.following`).

Each is a leg with a course, checkpoints and programs of its own; history and steps go on through all of them. What the
ended legs came to lies in `former.json` until the result is whole, so that a search that is stopped goes on in the
space that it was in. Searches of one space are of one leg.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from dnas.errors import InputError
from dnas.files import plain, read_document, write_json
from dnas.grammar.read import space_from_data
from dnas.learning.journal import Journal
from dnas.runs.converted import converted
from dnas.runs.folder import FORMER
from dnas.runs.identity import differences, shortened
from dnas.runs.records import Count
from dnas.search.problem import Problem, anew

Journals = Callable[[Problem, int, list[str]], Journal]
"""Of a leg's problem, the steps before it and their history."""


class _Former(msgspec.Struct, frozen=True):
    """former.json: the run, steps and history of the ended legs, what they learned, and the space of the next one."""

    identity: dict[str, Any]
    steps: Count
    rows: list[str]
    former: list[dict[str, Any]]
    space: dict[str, Any]
    side: int | None


@dataclass(frozen=True)
class Leg:
    """One of the spaces of a search."""

    problem: Problem
    journal: Journal
    resume: bool
    """Whether it goes on from a checkpoint where there is one."""


def first(problem: Problem, out: Path | None, journals: Journals, identity: Any, resume: bool, force: bool) -> Leg:
    """The leg that the search begins with: that in which it was stopped, with `resume`.

    Raises `InputError` where what the ended legs came to is damaged or, without `force`, of another run.
    """
    file = None if out is None else out / FORMER
    if file is None or not file.is_file():
        return Leg(problem, journals(problem, 0, []), resume)
    if not resume:
        file.unlink()
        return Leg(problem, journals(problem, 0, []), resume)
    known = converted(read_document(file).data, _Former, str(file))
    found = differences(known.identity, plain(identity))
    if found and not force:
        raise InputError(
            str(file), f"of another run: {shortened(found)}", accepted="the same options, data and versions, or --force"
        )
    space = space_from_data(known.space, f"{file}: space")
    problem = anew(problem, space, replace(problem.settings, side=known.side))
    problem = replace(problem, former=tuple(known.former))
    return Leg(problem, journals(problem, known.steps, known.rows), resume)


def after(leg: Leg, problem: Problem, steps: int, out: Path | None, journals: Journals, identity: Any) -> Leg:
    """The next leg, after `steps` of the one that has ended; from now on the search goes on there."""
    steps += leg.journal.before
    leg.journal.end()
    if out is not None:
        record = _Former(
            plain(identity), steps, leg.journal.rows, list(problem.former), problem.space.document.data,
            problem.settings.side,
        )  # fmt: skip
        write_json(out / FORMER, msgspec.to_builtins(record))
    leg.journal.close()  # what it came to is kept before what it could go on from is removed
    return Leg(problem, journals(problem, steps, leg.journal.rows), False)
