"""Exact cost of an architecture, layer by layer.

python -m dnas.count fbnetv2_f4
python -m dnas.count runs/mine/architecture.json --resolution 192 --json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from dnas.cost.count import count, layer_table
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input
from dnas.process.console import console
from dnas.runs.as_trained import counted_at, recorded, told_apart
from dnas.runs.following import Next, command, lines
from dnas.space.space import Space


@dataclass(frozen=True)
class Arguments:
    """Counts MACs and parameters of an architecture, exactly and layer by layer."""

    arch: Annotated[str, tyro.conf.Positional]
    """Name of a published architecture (see dnas.spaces), a result folder, or path to a .yaml or .json file."""
    resolution: int | None = None
    """Side of the input image; the architecture's own if not given."""
    classes: int | None = None
    """Number of classes; the architecture's own if not given."""
    json: bool = False
    """Print one JSON object instead of a table."""
    convention: Literal["dnas", "zoo", "fvcore", "timm", "thop", "snap"] = "dnas"
    """Whose way of counting; the result states it in one line."""


def main(args: Arguments) -> None:
    """Prints the cost of an architecture; raises `InputError` for a place, an option or a file that is none."""
    if args.resolution is not None and not 1 <= args.resolution <= 4096:
        accepted = "an integer from 1 to 4096"
        raise InputError("--resolution", "not accepted here", found=args.resolution, accepted=accepted)
    space = load_space(args.arch, args.classes)
    if args.resolution is not None:
        space = at_input(space, classes=space.classes, side=args.resolution)
    counted = count(space, args.convention)
    own = load_space(args.arch)
    delivered = recorded(own)
    apart = told_apart(counted_at(own), delivered)
    if args.json:
        print(json.dumps(counted | ({"as_trained": delivered.to_json()} if delivered and apart else {})))
        return
    _show(counted)
    for line in apart:
        print(line)
    for line in lines(_following(args.arch, space)):
        print(line)


def _following(arch: str, space: Space) -> list[Next]:
    """A result's weights can be evaluated; an architecture without any is trained."""
    if not {"training", "search", "imported"}.isdisjoint(space.extra or {}):
        return [
            (command("evaluate", arch), "accuracy by class"),
            (command("export", arch, "--to", "onnx"), "its graph"),
        ]
    return [(command("train", arch, "--data", "IMAGES"), "trains it on a folder of images")]


def _show(counted: dict[str, Any]) -> None:
    out = console()
    size = counted["input"]
    side = size["resolution"]
    out.print(f"{counted['name']}: {side}x{side}x{size['channels']}, {size['classes']} classes", markup=False)
    out.print(layer_table(counted))
    parts = counted["breakdown"]
    out.print(f"params: weights {parts['weights']:,}, biases {parts['biases']:,}, norms {parts['norm_affine']:,}")
    out.print(f"convention {counted['convention']['name']}: {counted['convention']['statement']}")
