"""Weights that people have: timm's checkpoints as result folders, and what a file of weights holds.

python -m dnas.weights import deit_ti model.safetensors
python -m dnas.weights import swin_tiny_patch4_window7_224 model.safetensors --out runs/swin
python -m dnas.weights show model.safetensors
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Import:
    """Makes a result folder of an architecture and a file of weights, timm's or ours; every command takes it."""

    arch: Annotated[str, tyro.conf.Positional]
    """Name of a published architecture (see dnas.spaces) or timm's name of it, a result folder, or path to a file."""
    file: Annotated[Path, tyro.conf.Positional]
    """Weights as a safetensors file."""
    out: Path | None = None
    """Folder of the result; runs/NAME-imported if not given, with a number where another run has that."""
    image_size: Annotated[int | None, tyro.conf.arg(aliases=("--side",))] = None
    """Side of the images that the weights were trained on, in pixels; the architecture's own if not given."""
    overwrite: bool = False
    """Replace what the folder holds of another run; it stays until the new result is whole."""


@dataclass(frozen=True)
class Show:
    """Prints whose weights a file holds, and which published architectures they fit."""

    file: Annotated[Path, tyro.conf.Positional]
    """Weights as a safetensors file."""
    json: bool = False
    """Print one JSON object."""


Command = Annotated[Import, tyro.conf.subcommand("import")] | Annotated[Show, tyro.conf.subcommand("show")]


@dataclass(frozen=True)
class Arguments:
    """Imports weights of timm's networks, and shows what a file of weights holds."""

    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Command]]


def main(args: Arguments) -> None:
    """Runs the command that was named."""
    {Import: import_, Show: show}[type(args.command)](args.command)


def import_(args: Import) -> None:
    """Writes a result folder and tells what follows."""
    from dnas.process.backend import configure

    configure()
    from dnas.data.image_side import check_side
    from dnas.grammar.catalogue import load_space
    from dnas.grammar.read import at_input
    from dnas.learning.importing import import_weights
    from dnas.runs.folder import Claiming
    from dnas.runs.following import command, lines
    from dnas.timm.models import architecture_of

    check_side(args.image_size)
    space = load_space(architecture_of(args.arch))
    space = space if args.image_size is None else at_input(space, side=args.image_size)
    out = args.out or Path("runs") / f"{space.name}-imported"
    claiming = Claiming(numbered=args.out is None and not args.overwrite, overwrite=args.overwrite)
    folder = import_weights(space, args.file, out, claiming, print)
    following = [
        (command("predict", folder, "photo.jpg"), "what a picture shows"),
        (command("evaluate", folder, "--data", "IMAGES"), "accuracy on a folder of images"),
        (command("train", folder, "--data", "IMAGES", "--new-classes"), "trains it for other classes"),
    ]
    for line in [f"written to {folder}", *lines(following)]:
        print(line)


def show(args: Show) -> None:
    """Prints what a file holds."""
    from dnas.timm.identify import identified

    found = identified(args.file)
    if args.json:
        print(json.dumps(found._asdict()))
        return
    print(f"{args.file}: {found.tensors:,} tensors, {found.numbers:,} numbers ({', '.join(found.types)})")
    print(f"names of {found.names}; fits {', '.join(found.fits) or 'no published architecture of dnas'}")
