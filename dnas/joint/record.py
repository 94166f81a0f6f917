"""A joint search's record (`dnas.runs.joint`) as its stages take it: a later search with other budgets begins there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dnas.joint.pairs import Pairs
from dnas.joint.stages import Coarse, Plan, Trained
from dnas.runs.joint import Member, Record


def coarse_of(record: Record) -> Coarse:
    """What the coarse stage has learned."""
    trained = [Trained(t.options, t.curve, t.expected) for t in record.trained]
    return Coarse(trained, record.epoch, list(record.correlations))


def fits(record: Record, pairs: Pairs, plan: Plan, out: Path) -> bool:
    """Whether the coarse stage was that of this plan and these choices, and its trainings are in the folder."""
    there = all((out / t.folder).is_dir() for t in record.trained)
    return there and record.plan == msgspec.to_builtins(plan) and _of(record, pairs)


def members_of(record: Record, pairs: Pairs, out: Path) -> list[Member]:
    """Results for other budgets that still hold: of the same choices, with their trainings in the folder."""
    if not _of(record, pairs):
        return []
    return [m for m in record.members if all((out / winner.folder).is_dir() for winner in m.winners)]


def _of(record: Record, pairs: Pairs) -> bool:
    return record.choices == {c.name: c.options for c in pairs.choices}
