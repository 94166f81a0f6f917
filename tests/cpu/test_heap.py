"""Holes that compiling leaves in the heap, and what closing them costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dnas.cpu.heap import close_holes, heap
from dnas.cpu.restart import memory_tunables

pytestmark = pytest.mark.skipif(heap() is None, reason="the heap is not that of glibc 2.33 or newer")

HOLES, MEAN, LARGE = 4_000, 1 << 16, 40 << 20
MOST_OF_IT = LARGE * 9 // 10  # the interpreter takes pieces of its own: where holes are closed, from the large one
PROGRAM = f"""
import ctypes, json, random
from dnas.cpu.heap import close_holes, heap

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
draw = random.Random(0)
large = libc.malloc({LARGE})
pieces = [libc.malloc(draw.randrange(1 << 11, 1 << 17) if n % 2 else 2000) for n in range({2 * HOLES})]
for piece in (large, *pieces[1::2]):
    libc.free(piece)

def state():
    found = heap()
    return {{"bytes": found.arena, "free": found.fordblks - found.keepcost}}

before = state()
close_holes()
after = state()
libc.malloc({MOST_OF_IT})
print(json.dumps([before, after, state()]))
"""


def states(tunables: str) -> list[dict[str, int]]:
    """The heap with holes, after they are closed, and after a large buffer is taken."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"GLIBC_TUNABLES": tunables}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def test_holes_are_closed_and_large_pieces_stay(monkeypatch):
    monkeypatch.setenv("DNAS_HUGE_PAGES", "0")
    monkeypatch.setenv("DNAS_LASTING_MEMORY", "1")
    before, after, later = states(memory_tunables(""))
    assert before["free"] - LARGE > HOLES * MEAN / 2
    assert MOST_OF_IT <= after["free"] < LARGE + (before["free"] - LARGE) / 20
    assert later["bytes"] == after["bytes"], "the large piece was free"
    assert after["free"] - later["free"] >= MOST_OF_IT, "and was found"


def test_other_heaps_are_left_alone(monkeypatch):
    before, after, _ = states("glibc.malloc.mmap_max=0")
    assert before["free"] > HOLES * MEAN / 2 and after["free"] > 0.99 * before["free"]
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    close_holes()
