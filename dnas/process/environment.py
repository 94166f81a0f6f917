"""What the environment asks of JAX: followed where results stay what they are, else said; devices that are not here."""

from __future__ import annotations

import os
import sys

from dnas.errors import UserError

FOLLOWED = (
    "PLATFORM", "CUDA_VISIBLE_DEVICES", "ROCM_VISIBLE_DEVICES", "NUM_CPU_DEVICES", "PJRT_CLIENT_CREATE_OPTIONS",
    "COMPILATION_CACHE", "ENABLE_COMPILATION_CACHE", "PERSISTENT_CACHE",
    "LOG", "DEBUG_LOG", "DUMP_IR", "INCLUDE_DEBUG_INFO", "EXPLAIN_CACHE", "TRACEBACK_FILTERING",
)  # fmt: skip
"""Beginnings of the names, after JAX_: where programs run, what is kept of them, and what is said about them."""
EXTRAS = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}
"""Platform -> the extra of dnas that brings it."""


def only_what_is_followed() -> None:
    """Takes out of the environment what would change JAX's numbers, and says so on stderr.

    Before jax is imported, which reads it then.
    """
    others = sorted(
        name for name in os.environ if name.startswith("JAX_") and not name.removeprefix("JAX_").startswith(FOLLOWED)
    )
    for name in others:
        del os.environ[name]
    if others:
        says = "is" if len(others) == 1 else "are"
        print(
            f"note: {', '.join(others)} {says} not followed: dnas computes in float32 by JAX's own settings, so that "
            "a seed gives one result",
            file=sys.stderr,
        )


def import_jax() -> None:
    """Imports jax; raises `UserError` for a value in the environment that it does not take."""
    try:
        import jax
    except ValueError as error:
        asked = ", ".join(f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_"))
        raise UserError(f"{asked}: JAX does not take it: {error}; correct it or unset it") from error
    jax.config.update("jax_enable_x64", False)  # a program that has imported jax before may have switched it on


def check_devices() -> None:
    """Raises `UserError` where a platform that the environment names has no device here."""
    import jax

    variable = next((name for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME") if os.environ.get(name)), None)
    named = [] if variable is None else os.environ[variable].split(",")
    try:
        jax.devices()
        for platform in named:
            jax.devices(platform)
    except (RuntimeError, AssertionError) as error:  # the latter, without a word, for cuda without its plugin
        said = str(error).partition("\n")[0].partition(" (set JAX_PLATFORMS")[0]
        if variable is None:
            raise UserError(f"JAX finds no device: {said}; JAX_PLATFORMS=cpu computes on the CPU") from error
        raise UserError(_absent(variable, named, said)) from error


def _absent(variable: str, named: list[str], said: str) -> str:
    extras = sorted({f"dnas[{EXTRAS[platform]}]" for platform in named if platform in EXTRAS})
    more = f"install {' or '.join(extras)}, or unset it" if extras else "unset it, or name cpu, cuda or tpu"
    return f"{variable}={os.environ[variable]}: no such device here; {more}" + (f" ({said})" if said else "")
