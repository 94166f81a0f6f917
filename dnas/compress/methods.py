"""The methods of compression, each declared here once."""

from __future__ import annotations

from typing import NamedTuple

from dnas.compress.asked import Method
from dnas.compress.vtp import vtp
from dnas.errors import InputError, suggestion


class Declared(NamedTuple):
    """A method, what it is called for people, and whether the smaller network is trained on."""

    run: Method
    about: str
    trains_on: bool


METHODS = {"vtp": Declared(vtp, "pruned by learned gates", trains_on=True)}


def method(name: str) -> Declared:
    """A method by its name; raises `InputError`."""
    if name not in METHODS:
        raise InputError("--method", f"unknown{suggestion(name, METHODS)}", found=name, accepted=", ".join(METHODS))
    return METHODS[name]
