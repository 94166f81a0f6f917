"""Process-wide settings of XLA, made once by a command before jax is imported. The library itself sets none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE_PAGES_TUNABLE = {"glibc.malloc.hugetlb": "1"}
# One heap, nothing mapped apart from it, and no end of it given back: with any two of the three a step's block of
# memory is still mapped and cleared anew.
LASTING_TUNABLES = {
    "glibc.malloc.arena_max": "1",
    "glibc.malloc.mmap_max": "0",
    "glibc.malloc.trim_threshold": str(1 << 46),
}

# For the same speed, XLA's newer CPU emitters, which compile every fused loop as a module of its own, take a third more
# compile time for this kind of program, and unrolled loops a fifth more.
CPU_FLAGS = {
    "xla_cpu_use_fusion_emitters": "false",
    "xla_backend_extra_options": "xla_cpu_disable_loop_unrolling",
}


def configure(cache: Path | None | str = "default") -> None:
    """Faster CPU compiles and a persistent compilation cache (`None` for none).

    `DNAS_CACHE` names another folder, or is empty for no cache. What the user has set in `XLA_FLAGS` wins.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    ours = [f"--{name}={value}" for name, value in CPU_FLAGS.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([*flags.split(), *ours])
    if cache == "default":
        named = os.environ.get("DNAS_CACHE")
        cache = Path.home() / ".cache" / "dnas" / "xla" if named is None else (Path(named) if named else None)
    if cache is None:
        return
    import jax

    try:
        Path(cache).mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A cache is a convenience: a read-only home is no reason to stop.
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def with_lasting_memory() -> None:
    """Starts this command anew with memory that stays with it, which glibc must be told before a process starts.

    A training step takes and frees hundreds of megabytes in one piece, which otherwise go back to the system and come
    again, cleared, with each step: a tenth to a quarter of its time on a CPU. `DNAS_LASTING_MEMORY=0` and
    `DNAS_HUGE_PAGES=0` leave things as they are.
    """
    before = os.environ.get("GLIBC_TUNABLES", "")
    tunables = memory_tunables(before)
    if sys.platform != "linux" or tunables == before:
        return
    os.environ["GLIBC_TUNABLES"] = tunables
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def memory_tunables(given: str) -> str:
    """`GLIBC_TUNABLES` with what is wanted here beside what the user has given, which wins."""
    wanted = {}
    if os.environ.get("DNAS_HUGE_PAGES") != "0" and huge_pages_are_asked_for():
        wanted |= HUGE_PAGES_TUNABLE
    if os.environ.get("DNAS_LASTING_MEMORY") != "0":
        wanted |= LASTING_TUNABLES
    names = {part.partition("=")[0] for part in given.split(":")}
    more = [f"{name}={value}" for name, value in wanted.items() if name not in names]
    return ":".join([*filter(None, [given]), *more])


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
