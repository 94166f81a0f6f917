"""Costs for people, in units that fit the number: the same words as the commands print."""

from __future__ import annotations

from dnas.cost.budget import recognised
from dnas.report.scene import number
from dnas.space.units import counted


def macs(value: float) -> str:
    """Multiply-adds."""
    return counted(value, "MACs")


def params(value: float) -> str:
    """A number of parameters for people."""
    return counted(value, "params")


def budgeted(budget: str, cost: float) -> str:
    """A cost in the unit of a budget's text; a plain number where that is not known."""
    known = recognised(budget)
    return number(cost) if known is None else known.shown(cost)


def unit(budget: str) -> str:
    """What a budget limits: `MACs`, `params`, `ms TABLE`; its text where that is not known."""
    known = recognised(budget)
    return budget if known is None else " ".join(filter(None, (known.kind, known.table)))


def limit(budget: str) -> float | None:
    """The most that a budget allows, where it is known."""
    known = recognised(budget)
    return None if known is None else known.limit
