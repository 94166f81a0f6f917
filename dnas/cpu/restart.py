"""Memory that stays with a command, which glibc must be told before a process starts: the command starts itself anew.

It is only speed. Where it cannot be done, or would lose something, things stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dnas.cpu import versions
from dnas.process import free_memory
from dnas.process.wing import say_off

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE_PAGES_TUNABLE = {"glibc.malloc.hugetlb": "1"}
# One heap, nothing mapped apart from it, and no end of it given back: with any two of the three a step's block of
# memory is still mapped and cleared anew.
ROOM = 4 << 30
"""Bytes free, of the machine and of the control groups that limit this process, from which on memory is kept: what is
kept was seen to be twice of what is used at one time."""
LASTING_TUNABLES = {
    "glibc.malloc.arena_max": "1",
    "glibc.malloc.mmap_max": "0",
    "glibc.malloc.trim_threshold": str(1 << 46),
}


def with_lasting_memory() -> None:
    """Starts this command anew with memory that stays with it.

    A training step takes and frees hundreds of megabytes in one piece, which otherwise go back to the system and come
    again, cleared, with each step: a tenth to a quarter of its time on a CPU. `DNAS_LASTING_MEMORY=0` and
    `DNAS_HUGE_PAGES=0` leave things as they are. Where less than `ROOM` is free, memory is kept only with
    `DNAS_LASTING_MEMORY=1`.
    """
    before = os.environ.get("GLIBC_TUNABLES")
    tunables = memory_tunables(before or "")
    if tunables == (before or "") or not versions.glibc() or not is_a_command(sys.orig_argv, sys.argv):
        return
    if unknown := versions.unknown_glibc():
        say_off(unknown)
        return
    os.environ["GLIBC_TUNABLES"] = tunables
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if before is None:
        del os.environ["GLIBC_TUNABLES"]
    else:
        os.environ["GLIBC_TUNABLES"] = before


def is_a_command(whole: Sequence[str], given: Sequence[str]) -> bool:
    """Whether the interpreter was started as `python -m dnas...` or by the script `dnas`, with these very arguments.

    Only such a start can be repeated. A program that comes from standard input has been read; one that calls dnas has
    done something before. `whole` is `sys.orig_argv`, `given` is `sys.argv`.
    """
    begins = len(whole) - len(given) + 1
    if begins < 2 or list(whole[begins:]) != list(given[1:]):
        return False
    module, last = whole[begins - 2 : begins]
    if module == "-m":
        return last.split(".")[0] == "dnas"
    return Path(last).stem == "dnas" and os.path.exists(last)


def memory_tunables(given: str) -> str:
    """`GLIBC_TUNABLES` with what is wanted here beside what the user has given, which wins."""
    wanted = {}
    if os.environ.get("DNAS_HUGE_PAGES") != "0" and huge_pages_are_asked_for():
        wanted |= HUGE_PAGES_TUNABLE
    if os.environ.get("DNAS_LASTING_MEMORY", "1" if _roomy() else "0") != "0":
        wanted |= LASTING_TUNABLES
    names = {part.partition("=")[0] for part in given.split(":")}
    more = [f"{name}={value}" for name, value in wanted.items() if name not in names]
    return ":".join([*filter(None, [given]), *more])


def _roomy() -> bool:
    free = free_memory.of_machine()
    return free is None or free >= ROOM


def has_one_heap() -> bool:
    """Whether this process was started with a heap that all threads share, nothing mapped apart."""
    given = os.environ.get("GLIBC_TUNABLES", "").split(":")
    return all(f"{name}={value}" in given for name, value in LASTING_TUNABLES.items())


def huge_pages_are_asked_for() -> bool:
    """Whether large pages are there, and given to processes that ask for them alone."""
    try:
        return sys.platform == "linux" and "[madvise]" in HUGE_PAGES.read_text()
    except OSError:
        return False
