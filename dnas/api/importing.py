"""Weights from elsewhere from Python: the function of `python -m dnas.weights import`."""

from __future__ import annotations

import os
from pathlib import Path

from dnas.api.guard import guarded
from dnas.api.results import ImportedResult, Place, opened
from dnas.api.spaces import SpaceLike, at, load
from dnas.api.values import plain_arguments
from dnas.process.console import console
from dnas.runs.folder import Claiming


@plain_arguments
def import_weights(
    architecture: SpaceLike, file: str | os.PathLike[str], *, image_size: int | None = None,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False, quiet: bool = False,
) -> ImportedResult:  # fmt: skip
    """Makes a result of an architecture and a file of weights, as `python -m dnas.weights import` does.

    Args:
        architecture: what `dnas.load` takes, or timm's name of a published architecture.
        file: weights as a safetensors file: timm's checkpoint, by the names of its tensors, or weights of dnas.
        image_size: side of the images that the weights were trained on, in pixels; the architecture's own if not given.
        out: folder of the result; a temporary one if not given.
        overwrite: replace what `out` holds of another run.
        quiet: print nothing.

    Returns:
        The network with as many classes as the checkpoint has, which every other function takes.

    Raises:
        UserError: a file that is no safetensors, a tensor that is missing, too many or of another shape.
    """
    place = Place(out)
    with guarded():
        from dnas.learning.importing import import_weights
        from dnas.timm.models import architecture_of

        space = load(architecture_of(architecture) if isinstance(architecture, str) else architecture)
        told = console(quiet)
        import_weights(
            at(space, image_size, None), Path(file), place.path, Claiming(overwrite=overwrite),
            lambda line: told.print(line, markup=False),
        )  # fmt: skip
    return opened(place)
