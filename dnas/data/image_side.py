"""The sides, in pixels, that images may be asked for. Jax-free, as all that command lines are read by."""

from __future__ import annotations

from dnas.errors import InputError

MAX_SIDE = 4096
OPTION = "--image-size"


def check_side(asked: int | None) -> None:
    """Raises `InputError` for a side out of range."""
    if asked is not None and not 1 <= asked <= MAX_SIDE:
        raise InputError(OPTION, "out of range", found=asked, accepted=f"1 to {MAX_SIDE}")
