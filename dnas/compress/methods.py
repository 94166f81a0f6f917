"""The methods of compression, each declared here once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

from dnas.compress import patch_slimming, ptq, vtp
from dnas.compress.asked import Asked, Method
from dnas.errors import InputError, suggestion
from dnas.space.space import Space


class Declared(NamedTuple):
    """A method, what it is called for people, whether the smaller network is trained on, and the options it reads."""

    run: Method
    check: Callable[[Space, Asked], None]
    """Raises `UserError` for options that do not fit, or a network without what the method needs: before data are read.
    """
    about: str
    trains_on: bool
    options: tuple[str, ...]


METHODS = {
    "vtp": Declared(
        vtp.vtp, vtp.check, "pruned by learned gates", trains_on=True, options=("budgets", "rate", "penalty")
    ),
    "patch_slimming": Declared(
        patch_slimming.patch_slimming, patch_slimming.check, "without tokens that matter little", trains_on=True,
        options=("budgets", "error", "images"),
    ),
    "ptq": Declared(
        ptq.ptq, ptq.check, "quantised", trains_on=False, options=("budgets", "bits", "mixed", "scales", "images")
    ),
}  # fmt: skip


def method(name: str) -> Declared:
    """A method by its name; raises `InputError`."""
    if name not in METHODS:
        raise InputError("--method", f"unknown{suggestion(name, METHODS)}", found=name, accepted=", ".join(METHODS))
    return METHODS[name]


def check_options(asked: Asked) -> None:
    """Raises `InputError` for an option that the method does not read, or a number that is not finite."""
    declared, usual = method(asked.method), asdict(Asked(asked.method))
    for name, value in asdict(asked).items():
        if value != usual[name] and name not in ("method", *declared.options):
            accepted = ", ".join(map(flag, declared.options))
            raise InputError(flag(name), f"not an option of {asked.method}", found=value, accepted=accepted)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(flag(name), "not accepted here", found=value, accepted="a finite number")


def flag(option: str) -> str:
    """As the command names it."""
    return {"budgets": "--budget"}.get(option, f"--{option}")
