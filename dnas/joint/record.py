"""A joint search's record (`dnas.runs.joint`) as its stages take it: a later search with other budgets begins there."""

from __future__ import annotations

import msgspec

from dnas.joint.pairs import Pairs
from dnas.joint.stages import Coarse, Plan, Trained
from dnas.runs.joint import Record


def coarse_of(record: Record) -> Coarse:
    """What the coarse stage has learned."""
    trained = [Trained(t.options, t.curve, t.expected) for t in record.trained]
    return Coarse(trained, record.epoch, list(record.correlations))


def fits(record: Record, pairs: Pairs, plan: Plan) -> bool:
    """Whether the coarse stage was that of this plan and these choices."""
    return record.plan == msgspec.to_builtins(plan) and record.choices == {c.name: c.options for c in pairs.choices}
