"""Costs for people, in units that fit the number: the same words as the commands print."""

from __future__ import annotations

from dnas.cost.budget import recognised
from dnas.space.units import counted, timed


def number(value: float) -> str:
    """Three digits and a prefix: `0.25`, `1.5k`, `200M`."""
    return counted(value).replace(" ", "") if abs(value) >= 1e3 else f"{value:.3g}"


def shown(unit: str, cost: float) -> str:
    """A cost in a unit: `MACs`, `params`, `MB`, or `ms TABLE`."""
    if unit.startswith("ms"):
        return timed(cost)
    return counted(cost, unit) if unit in ("MACs", "params") else f"{cost:.4g} {unit}"


def figure(name: str, value: float) -> str:
    """A figure of runs with several seeds: `macs`, `params`, the time of a budget, or an accuracy."""
    if name in ("macs", "params"):
        return counted(round(value))
    return timed(value) if is_cost(name) else f"{value:.2%}"


def is_cost(name: str) -> bool:
    """Whether such a figure is a cost, and no accuracy."""
    return name in ("macs", "params") or "@" in name


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
