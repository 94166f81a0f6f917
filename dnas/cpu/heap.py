"""Holes in the heap: free pieces between what stays, of which compiling leaves ten thousand.

glibc looks for the smallest that is large enough, behind a lock that all threads share. Every buffer of some kilobytes
that a step takes then goes through long lists: 2 to 13 % of the step's time, by network (`docs/performance.md`).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterable, Iterator
from typing import Any

from dnas.cpu.restart import has_one_heap

LEAST, MOST, LARGEST = 1 << 10, 1 << 18, 1 << 26
"""Bytes. Holes from `LEAST` to `MOST` are closed: smaller ones are found at once; larger ones are few, and used."""
PARTS = 8
"""A size is smaller than the one before by such a part."""


def close_holes() -> None:
    """Takes the holes for good, so that what steps take and free is alone in the lists. It takes no memory but holes.

    Only where the process has one heap (`dnas.cpu.restart.with_lasting_memory`).
    """
    libc = _glibc()
    if libc is None or not has_one_heap():
        return
    end = libc.sbrk(0) - libc.mallinfo2().keepcost  # what is behind it is no hole
    large = _taken(libc, _sizes(LARGEST, MOST), end)  # or small ones would be cut from them
    _taken(libc, _sizes(MOST, LEAST), end)
    for place in large:
        libc.free(place)


def _taken(libc: Any, sizes: Iterable[int], end: int) -> list[int]:
    """Addresses of pieces of these sizes, as many of each as there are before `end`."""
    taken = []
    for size in sizes:
        while (place := libc.malloc(size)) and place < end:
            taken.append(place)
        libc.free(place)
    return taken


def _sizes(most: int, least: int) -> Iterator[int]:
    """From `most` down to more than `least`."""
    while most > least:
        yield most
        most -= most // PARTS


class Heap(ctypes.Structure):
    """What glibc says of its main heap: bytes in all (`arena`), free (`fordblks`), of these at its end (`keepcost`)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def heap() -> Heap | None:
    """The main heap as it is; None where the C library is not glibc, or older than 2.33."""
    libc = _glibc()
    return libc and libc.mallinfo2()


def _glibc() -> Any:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
        libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
        libc.mallinfo2.restype, libc.mallinfo2.argtypes = Heap, []
        return libc
    return None
