"""Which architecture a file of weights is of, by the names and shapes of its tensors alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.timm.checkpoint import check, is_own, opened
from dnas.timm.models import MODELS, with_its_classes


class Identified(NamedTuple):
    """What a file of weights holds."""

    names: str
    """`dnas`, or `timm or others`."""
    fits: list[str]
    """Published architectures that have timm's models; of weights of ours, the name that they were written with."""
    tensors: int
    numbers: int
    types: list[str]


def identified(path: Path) -> Identified:
    """Raises `InputError` for a file that is not safetensors."""
    with opened(path) as file:
        views = {name: file.get_slice(name) for name in file.keys()}
        numbers = sum(math.prod(view.get_shape()) for view in views.values())
        types = sorted({view.get_dtype() for view in views.values()})
        own, metadata = is_own(views), file.metadata() or {}
    fits = [metadata["architecture"]] if "architecture" in metadata else []
    if not own:
        fits = [model.architecture for model in MODELS.values() if _fits(path, model.architecture)]
    return Identified("dnas" if own else "timm or others", fits, len(views), numbers, types)


def _fits(path: Path, architecture: str) -> bool:
    try:
        check(path, with_its_classes(load_space(architecture), path))
    except InputError:
        return False
    return True
