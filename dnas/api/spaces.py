"""Search spaces and architectures by name, from files or from dicts, and what they cost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from dnas.api.values import plain_arguments
from dnas.cost.conventions import CONVENTIONS
from dnas.cost.count import count
from dnas.errors import InputError, suggestion
from dnas.files.read import parse_json
from dnas.grammar.catalogue import load_space
from dnas.grammar.catalogue import published_names as published_names
from dnas.grammar.catalogue import space_names as space_names
from dnas.grammar.read import at_input, space_from_data
from dnas.runs.result import Result, result_of
from dnas.solve.extent import described
from dnas.space.space import Space

SpaceLike = str | os.PathLike[str] | Mapping[str, Any] | Space
"""A name, a path (of a file, or of a result folder), a dict of the grammar, or what `load` gave. Results are paths."""
DICT = "<dict>"
"""What messages call a space that came as a dict."""


@dataclass(frozen=True, eq=False, repr=False)
class LoadedSpace(Space):
    """A search space or, without choices, an architecture, with its costs at hand.

    Attributes:
        name: of the space.
        about: what its file says of it.
        channels: of an input image.
        classes: number of classes.
        choices: its choices, each with a `name` and `options`; empty for an architecture.
    """

    @cached_property
    def costs(self) -> dict[str, int]:
        """Exact costs of an architecture at its own input: `macs` (multiply-adds) and `params` (trainable numbers).

        Raises:
            UserError: a space that still has choices; `cost_range` is for those.
        """
        counted = count(self)
        return {name: counted[name] for name in ("macs", "params")}

    @cached_property
    def cost_range(self) -> dict[str, dict[str, float]]:
        """`macs` and `params` -> the exact `smallest` and `largest` of any architecture, and the `mean` of all."""
        found = described(self)
        return {name: found[name] for name in ("macs", "params")}

    @cached_property
    def size_log10(self) -> float:
        """log10 of how many different architectures there are (`python -m dnas.spaces` prints the rule)."""
        return described(self)["size_log10"]

    @property
    def data(self) -> dict[str, Any]:
        """The file as plain data, a copy: change it and `load` it again for a space of your own."""
        return json.loads(json.dumps(self.document.data))

    def __repr__(self) -> str:
        if self.choices:
            return f"<space {self.name}: {len(self.choices)} choices>"
        side = self.resolution.value
        return f"<architecture {self.name}: {side} px x {self.channels} channels, {self.classes} classes>"


@plain_arguments
def load(space: SpaceLike, *, classes: int | None = None) -> LoadedSpace:
    """Loads a search space or an architecture; an architecture is a space without choices.

    Args:
        space: name of one that ships with dnas (`space_names`, `published_names`), path of a file or of a result
            folder, a result, or a dict of the grammar (`dnas.grammar.read`).
        classes: number of classes, in place of the space's own.

    Returns:
        The space, which every other function takes.

    Raises:
        InputError: an unknown name (with the nearest that is known), a missing file, or a fault in a file or dict, with
            its place.
    """
    if isinstance(space, Space):
        found = space
    elif isinstance(space, Mapping):
        found = space_from_data(_plain(space), DICT)
    elif isinstance(space, str | os.PathLike):
        found = load_space(os.fspath(space))
    else:
        accepted = "a name, a path, a dict, or what dnas.load gave"
        raise InputError("space", "not a space", found=type(space).__name__, accepted=accepted)
    found = found if classes is None else at_input(found, classes=classes)
    if isinstance(found, LoadedSpace):
        return found
    return LoadedSpace(**{field.name: getattr(found, field.name) for field in fields(Space)})


@plain_arguments
def costs(
    architecture: SpaceLike, *, resolution: int | None = None, classes: int | None = None, convention: str = "dnas"
) -> dict[str, Any]:
    """Counts an architecture exactly, layer by layer.

    Args:
        architecture: what `load` takes.
        resolution: side of the input image in pixels, in place of the architecture's own.
        classes: number of classes, in place of the architecture's own.
        convention: whose way of counting: `dnas`, `zoo`, `fvcore`, `timm`, `thop` or `snap` (`docs/costs.md`).

    Returns:
        `macs` (multiply-adds), `params`, `layers` (each with `path`, `kind`, `fields`, `output` shape, `macs` and
        `params`), `input`, `convention` and `breakdown`: what `python -m dnas.count --json` prints.

    Raises:
        UserError: a space with choices, an unknown convention, a value out of range.
    """
    if convention not in CONVENTIONS:
        near = suggestion(str(convention), CONVENTIONS)
        raise InputError("convention", f"unknown{near}", found=convention, accepted=", ".join(CONVENTIONS))
    return count(at(load(architecture), resolution, classes), convention)


def at(space: Space, resolution: int | None, classes: int | None) -> Space:
    """The space at another input; raises `InputError` for a value out of range."""
    for name, value, most in (("resolution", resolution, 4096), ("classes", classes, 1_000_000)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
            raise InputError(name, "not accepted here", found=value, accepted=f"an integer from 1 to {most}")
    return space if resolution is None and classes is None else at_input(space, classes=classes, side=resolution)


def result_for(architecture: SpaceLike, weights: str | os.PathLike[str] | None = None) -> Result:
    """An architecture with what its file records and the weights beside it.

    Raises:
        UserError: what `load` raises, and for a space with choices.
    """
    return result_of(load(architecture), None if weights is None else Path(weights))


def _plain(data: Mapping[str, Any]) -> Any:
    """The dict as a file would give it, which nobody changes any more."""
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        accepted = "dicts, lists, texts, numbers, true and false"
        raise InputError(DICT, f"not plain data: {error}", accepted=accepted) from error
    return parse_json(text, DICT)
