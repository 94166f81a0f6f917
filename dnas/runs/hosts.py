"""Whether all processes of one run on several hosts were given the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnas.errors import InputError
from dnas.files import plain
from dnas.process import hosts
from dnas.runs.identity import told_apart


def check_same(facts: Mapping[str, Any]) -> None:
    """Holds what a process was given, as JSON values, against what the first one was; all processes must call this.

    Where they differ, steps would be taken from other images or in other numbers, and processes wait for each other
    without an end.

    Raises:
        InputError: in every process, with the first one that was given something else.
    """
    own = plain(facts)
    for process, differing in enumerate(hosts.of_all(told_apart(hosts.agreed(own), own))):
        if differing:
            where, problem = "--coordinator", f"process {process} was not given what process 0 was: {differing}"
            raise InputError(where, problem, accepted="the same command, data, files and versions on every host")
