"""Process-wide settings of XLA, made once by a command before jax is imported. The library itself sets none."""

from __future__ import annotations

import os
from pathlib import Path

# XLA's newer CPU emitters compile every fused loop as a module of its own: a third more compile time for this kind of
# program, for the same speed.
CPU_FLAGS = "--xla_cpu_use_fusion_emitters=false"


def configure(cache: Path | None | str = "default") -> None:
    """Faster CPU compiles and a persistent compilation cache (`None` for none).

    `DNAS_CACHE` names another folder, or is empty for no cache. What the user has set in `XLA_FLAGS` wins.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_use_fusion_emitters" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_FLAGS}".strip()
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
