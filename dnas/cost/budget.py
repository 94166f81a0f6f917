"""Budgets as they are written: `200MFLOPs`, `200MMACs`, `5Mparams`, `12ms@TABLE`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dnas.errors import InputError, suggestion
from dnas.files import text_of
from dnas.space.units import counted, timed

ACCEPTED = "e.g. 200MFLOPs (multiply-adds), 200MMACs, 5Mparams or 12ms@TABLE"
_FORM = re.compile(
    r"([-+]?[0-9.]+(?:e[0-9]+)?)\s*(?:([kMGT]?)(FLOPs|MACs|params|B)|(ms|us)@(.+))", re.IGNORECASE | re.ASCII
)
_KINDS = {"params": "params", "b": "bytes"}
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Budget:
    """An upper limit on one cost. `limit` is in multiply-adds, parameters, milliseconds or bytes."""

    text: str
    kind: str
    """`MACs`, `params`, `ms` or `bytes`."""
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
        if self.kind == "bytes":
            return "B"
        return next((unit for unit in ("MACs", "params") if self.text.strip().lower().endswith(unit.lower())), "FLOPs")


def parse_budget(text: str, sizes: bool = False, option: str = "--budget") -> Budget:
    """Reads a budget of an option, `sizes` in bytes among them; raises `InputError` naming the accepted forms."""
    text = text.strip()
    match = _FORM.fullmatch(text)
    if match is None or (match[3] in ("B", "b") and not sizes):
        unit = text.lstrip("0123456789.").lstrip("kMGT")
        near = suggestion(unit, ("FLOPs", "MACs", "params", "ms@TABLE"))
        accepted = f"{ACCEPTED}, or a size: 2.5MB" if sizes else ACCEPTED
        raise InputError(option, f"not a budget{near}", found=text, accepted=accepted)
    number, size, unit, time_unit, table = match.groups()
    try:
        value = float(number)
    except ValueError:
        raise InputError(option, "not a number", found=number, accepted=ACCEPTED) from None
    if not 0 < value < 1e15:
        raise InputError(option, "out of range", found=text, accepted="a number above 0, below 1e15")
    if time_unit:
        return Budget(text_of(text), "ms", value * (1e-3 if time_unit.lower() == "us" else 1.0), table)
    return Budget(text, _KINDS.get(unit.lower(), "MACs"), value * _SIZES[size.lower()])


def parse_family(text: str) -> list[Budget]:
    """Reads `60MFLOPs,100MFLOPs`: different budgets of one kind; raises `InputError`."""
    budgets = [parse_budget(part, option="--family") for part in text.split(",")]
    if len({(b.kind, b.table) for b in budgets}) > 1 or len({b.limit for b in budgets}) < len(budgets):
        raise InputError("--family", "not a family", found=text, accepted="different budgets of one kind, A,B,C")
    return budgets


def recognised(text: str) -> Budget | None:
    """A budget's text, None where it is none: a run that has not ended does not know its budgets."""
    try:
        return parse_budget(text, sizes=True)
    except InputError:
        return None
