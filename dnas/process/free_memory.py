"""How much memory is free for this process, and the one line where a command would need more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dnas.errors import UserError
from dnas.process.memory_amounts import told_apart

ROOT = Path("/")
"""Of the system's own files."""
UNLIMITED = 1 << 60
"""Bytes; what a control group says where it has no limit is more."""


def check(need: int, what: str, tries: str) -> None:
    """Raises `UserError` where `need` bytes are more than is free on the device; `tries` says what needs less."""
    free = on_device()
    if free is not None and need > free:
        wanted, left = told_apart(need, free)
        raise UserError(f"not enough memory: {what} needs about {wanted}, and {left} are free; try {tries}")


def on_device() -> int | None:
    """Bytes free where jax computes; None where nothing is known of it."""
    import jax

    device = jax.local_devices()[0]  # those of other hosts tell nothing here
    if device.platform == "cpu":
        return of_machine()
    known = device.memory_stats() or {}
    return known["bytes_limit"] - known.get("bytes_in_use", 0) if "bytes_limit" in known else None


def of_machine(root: Path = ROOT) -> int | None:
    """Bytes that this process may still take: of the machine's, and within the limits of its control groups."""
    known = [*_available(root), *(left for _, left in _groups(root))]
    return min(known, default=None)


def whole(root: Path = ROOT) -> int | None:
    """Bytes that the machine has, or the least limit of this process's control groups: the same at every start."""
    limits = (most for most, _ in _groups(root))
    known = [most for most in (_total(root), *limits) if most is not None]
    return min(known, default=None)


def _total(root: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:")), None)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _available(root: Path) -> Iterator[int]:
    """What the system says is there for new programs; elsewhere than on Linux, all the machine has."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        yield from (1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Every limit that holds for this process, of its group and of those around it, and what is left of it."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
            elif "memory" in controllers.split(","):
                mount = root / "sys/fs/cgroup/memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            else:
                continue
            own = mount / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(mount):  # inside a container the path may be that outside of it
                    yield from _left(folder, *names)


def _left(group: Path, limit: str, usage: str, prefix: str) -> Iterator[tuple[int, int]]:
    """The limit, and what is left of it; files that are only cached give way, read once or more often."""
    with contextlib.suppress(OSError, ValueError):
        most, used = int((group / limit).read_text()), int((group / usage).read_text())  # "max": no limit
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if most < UNLIMITED:
            cached = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
            yield most, max(0, min(most, most - used + cached))
