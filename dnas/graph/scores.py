"""Whether what a network gives are the scores of classes."""

from __future__ import annotations

from dnas.blocks.forms import VECTOR, form_of
from dnas.errors import InputError
from dnas.graph.build import graph_of
from dnas.space.space import Space


def check_scores(space: Space, classes: int | None = None) -> None:
    """Raises `InputError` where the last block of a space gives anything but [channels], as many whatever is chosen,
    and `classes` of them where that is given."""
    y = graph_of(space).output
    found = form_of(y).name
    if VECTOR.fits(y):
        if y.channels.is_constant and classes in (None, y.channels.value):
            return
        found = f"{' or '.join(map(str, y.channels.values()))} of them"
    needed = "class scores" if classes is None else f"scores of {classes} classes"
    raise InputError(
        space.source, f"the last block must give {needed}, not {found}", accepted="linear: {out: $classes}"
    )
