"""Amounts of memory as people write and read them: 4GB, 512MiB."""

from __future__ import annotations

import re

from dnas.errors import InputError, suggestion

MEMORY_UNITS = {f"{prefix}B": 1000**n for n, prefix in enumerate(("k", "M", "G", "T"), 1)}
MEMORY_UNITS |= {f"{prefix}iB": 1024**n for n, prefix in enumerate(("K", "M", "G", "T"), 1)}
ACCEPTED_MEMORY = f"a number and one of {', '.join(MEMORY_UNITS)}, e.g. 4GB"


def parse_memory(text: str) -> int:
    """Bytes of `4GB` or `512MiB`; raises `InputError` naming the accepted units."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", text.strip())
    if match is None or match[2] not in MEMORY_UNITS:
        near = suggestion(match[2], MEMORY_UNITS) if match else ""
        raise InputError("--max-memory", f"not an amount of memory{near}", found=text, accepted=ACCEPTED_MEMORY)
    size = float(match[1]) * MEMORY_UNITS[match[2]]
    if not 1 <= size < 1e18:
        raise InputError("--max-memory", "out of range", found=text, accepted=ACCEPTED_MEMORY)
    return round(size)


def memory_shown(size: float) -> str:
    """Bytes for people, with three significant digits: 1.53 MB, 312 MB."""
    for unit in ("TB", "GB", "MB"):
        if size >= MEMORY_UNITS[unit]:
            number = size / MEMORY_UNITS[unit]
            return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"
    return f"{size / 1000:.0f} kB"


def told_apart(need: int, limit: int) -> tuple[str, str]:
    """Two amounts of bytes for people; to the byte where less would show the same."""
    shown = memory_shown(need), memory_shown(limit)
    return shown if shown[0] != shown[1] else (f"{need:,} bytes", f"{limit:,} bytes")
