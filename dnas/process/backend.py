"""Process-wide settings of JAX and XLA, made once by a command before jax is imported. The library itself sets none."""

from __future__ import annotations

import os
from pathlib import Path

from dnas.process import environment, wing, xla_flags
from dnas.process.hosts import ALONE, Hosts


def configure(
    cache: Path | None | str = "default", faster_compiles: bool = True, hosts: Hosts = ALONE
) -> None:  # fmt: skip
    """Faster CPU compiles and a persistent compilation cache (`None` for none).

    `DNAS_CACHE` names another folder, or is empty for no cache; else `JAX_COMPILATION_CACHE_DIR` names it. What the
    user has set in `XLA_FLAGS` wins. Without `faster_compiles` programs are compiled as XLA does by itself. Of several
    processes each must call this.

    Raises `UserError` where the environment asks what JAX, or this machine, cannot do.
    """
    environment.only_what_is_followed()
    folder = _made(cache_folder() if cache == "default" else cache)
    xla_flags.prepare(wing.start().flags if faster_compiles else {}, folder)
    environment.import_jax()
    hosts.join()
    environment.check_devices()
    if folder is None:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def cache_folder() -> Path | None:
    """Where the environment wants things kept between starts; None for nowhere."""
    named = os.environ.get("DNAS_CACHE", os.environ.get("JAX_COMPILATION_CACHE_DIR"))
    if named is None:
        return Path(os.path.expanduser("~")) / ".cache" / "dnas" / "xla"
    return Path(named) if named and "://" not in named else None  # what is no folder is JAX's own affair


def _made(folder: Path | str | None) -> Path | None:
    """The folder, made; None where it cannot be: a cache is a convenience, a read-only home no reason to stop."""
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Path(folder)
