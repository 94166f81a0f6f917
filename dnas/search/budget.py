"""Budgets: `200MFLOPs`, `200MMACs`, `5Mparams`, `12ms@TABLE`. Jax-free."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from dnas.catalogue import find_table
from dnas.cost import ledger
from dnas.cost.latency import Coverage, latency_cost
from dnas.cost.latency_table import read_table
from dnas.cost.ledger import Cost
from dnas.errors import InputError, UserError, suggestion
from dnas.files import text_of
from dnas.network import Network
from dnas.solve.constrained import feasible_together, smallest
from dnas.solve.elimination import optimum
from dnas.space.quantity import Assignment, Quantity
from dnas.space.space import Space
from dnas.units import counted, timed

ACCEPTED = "e.g. 200MFLOPs (multiply-adds), 200MMACs, 5Mparams or 12ms@TABLE"
_FORM = re.compile(r"([0-9.]+(?:e[0-9]+)?)\s*(?:([kMG]?)(FLOPs|MACs|params)|(ms|us)@(.+))", re.IGNORECASE)
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
MEMORY_UNITS = {f"{prefix}B": 1000**n for n, prefix in enumerate(("k", "M", "G", "T"), 1)}
MEMORY_UNITS |= {f"{prefix}iB": 1024**n for n, prefix in enumerate(("K", "M", "G", "T"), 1)}
ACCEPTED_MEMORY = f"a number and one of {', '.join(MEMORY_UNITS)}, e.g. 4GB"


@dataclass(frozen=True)
class Budget:
    """An upper limit on one cost. `limit` is in multiply-adds, parameters or milliseconds."""

    text: str
    kind: str
    """`MACs`, `params` or `ms`."""
    limit: float
    table: str | None = None

    def shown(self, value: float) -> str:
        """A value of this cost for people, told apart from the limit where it is another."""
        if self.kind == "ms":
            return timed(value, self.limit)
        return counted(value, self.unit, self.limit)

    @property
    def unit(self) -> str:
        """As the user named it."""
        if self.kind == "ms":
            return "ms"
        return next((unit for unit in ("MACs", "params") if self.text.strip().lower().endswith(unit.lower())), "FLOPs")


def parse_budget(text: str) -> Budget:
    """Reads a budget; raises `InputError` naming the accepted forms."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        unit = text.strip().lstrip("0123456789.").lstrip("kMG")
        near = suggestion(unit, ("FLOPs", "MACs", "params", "ms@TABLE"))
        raise InputError("--budget", f"not a budget{near}", found=text, accepted=ACCEPTED)
    number, size, unit, time_unit, table = match.groups()
    try:
        value = float(number)
    except ValueError:
        raise InputError("--budget", "not a number", found=number, accepted=ACCEPTED) from None
    if not 0 < value < 1e15:
        raise InputError("--budget", "out of range", found=text, accepted="above 0")
    if time_unit:
        return Budget(text_of(text), "ms", value * (1e-3 if time_unit.lower() == "us" else 1.0), table)
    return Budget(text, "params" if unit.lower() == "params" else "MACs", value * _SIZES[size.lower()])


def parse_memory(text: str) -> int:
    """Bytes of `4GB` or `512MiB`; raises `InputError` naming the accepted units."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", text.strip())
    if match is None or match[2] not in MEMORY_UNITS:
        near = suggestion(match[2], MEMORY_UNITS) if match else ""
        raise InputError("--max-memory", f"not an amount of memory{near}", found=text, accepted=ACCEPTED_MEMORY)
    size = float(match[1]) * MEMORY_UNITS[match[2]]
    if not 1 <= size < 1e18:
        raise InputError("--max-memory", "out of range", found=text, accepted=ACCEPTED_MEMORY)
    return int(size)


def memory_shown(size: float) -> str:
    """Bytes for people: 312 MB."""
    for unit in ("TB", "GB", "MB"):
        if size >= MEMORY_UNITS[unit]:
            number = size / MEMORY_UNITS[unit]
            return f"{number:.2f} {unit}" if unit != "MB" else f"{number:.0f} {unit}"
    return f"{size / 1000:.0f} kB"


def parse_family(text: str) -> list[Budget]:
    """Reads `60MFLOPs,100MFLOPs`: different budgets of one kind; raises `InputError`."""
    budgets = [parse_budget(part) for part in text.split(",")]
    if len({(b.kind, b.table) for b in budgets}) > 1 or len({b.limit for b in budgets}) < len(budgets):
        raise InputError("--family", "not a family", found=text, accepted="different budgets of one kind, A,B,C")
    return budgets


@dataclass(frozen=True, eq=False)
class Measured:
    """One budgeted cost of a space: the sum of products and its range."""

    budget: Budget
    cost: Cost
    smallest: float
    uniform: float
    largest: float
    coverage: Coverage | None = None
    """How much of a latency came from its table."""
    table_sha256: str = ""
    """Of the latency table's file."""

    def at(self, assignment: Assignment) -> float:
        return ledger.at(self.cost, assignment)


def measure(budget: Budget, walked: Network, space: Space) -> Measured:
    """The budgeted cost of a space and its smallest, uniform mean and largest value over all architectures.

    Raises `UserError` for a latency table that cannot be read or lacks a block kind of the space.
    """
    coverage, digest = None, ""
    if budget.kind == "ms":
        file = find_table(budget.table or "")
        found = latency_cost(space, read_table(file), network=walked)
        cost, coverage, digest = found.cost, found.coverage, hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        cost = ledger.COSTS[budget.kind](walked.ledger)
    low, _ = smallest(cost, space.constraints)
    high, _ = optimum([product.joint() for product in cost], "max", space.constraints)
    uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
    return Measured(budget, cost, low, float(ledger.mean(cost, uniform)), high, coverage, digest)


def check(measured: list[Measured], constraints: tuple[Quantity, ...]) -> None:
    """Raises `UserError` where a budget, or all of them together, cannot be met by any architecture."""
    for m in measured:
        if m.smallest > m.budget.limit:
            least = m.budget.shown(m.smallest)
            raise UserError(f"--budget {m.budget.text}: out of reach; the smallest network of the space has {least}")
    if (
        len(measured) > 1
        and feasible_together([m.cost for m in measured], [m.budget.limit for m in measured], constraints) is None
    ):
        names = " and ".join(m.budget.text for m in measured)
        raise UserError(f"--budget {names}: each can be met alone, but no network of the space meets them together")
