"""A trained network made smaller, within a budget.

python -m dnas.compress runs/vit --method vtp --budget 700MFLOPs
python -m dnas.compress runs/vit --method vtp --rate 0.4 --epochs 20
python -m dnas.compress runs/vit --method patch_slimming --error 0.01
python -m dnas.compress runs/vit --method ptq --bits 6 --mixed
python -m dnas.compress runs/vit --method ptq --budget 2.5MB
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from dnas.process.console import console


@dataclass(frozen=True)
class Arguments:
    """Makes a trained network smaller: fewer channels, fewer bits, or whatever the method takes away."""

    groups: ClassVar[dict[str, str]] = {
        "run": "what to make smaller, and how far",
        "penalty": "pruning (vtp)",
        "error": "dropping tokens (patch_slimming)",
        "bits": "quantisation (ptq)",
        "recipe": "the training on",
        "data": "data",
        "out": "result and continuing",
    }

    run: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one together with --weights."""
    method: Literal["vtp", "patch_slimming", "ptq"]
    """vtp: channels go whose learned gates are the smallest of the whole network (Zhu et al. 2021). patch_slimming:
    each block of a vision transformer hands on the tokens that matter most (Tang et al. 2022). ptq: both factors of
    every product are rounded to a few bits (Liu et al. 2021)."""
    budget: tuple[str, ...] = ()
    """What the network may cost at most, as in a search: 700MFLOPs, 5Mparams. Several hold together.
    For ptq a size: 2.5MB."""
    rate: float | None = None
    """Share of the channels that goes, in place of a budget."""
    weights: Path | None = None
    """Weights as a safetensors file; those beside the architecture if not given."""
    penalty: float = 1e-4
    """Weight of the sum of the gates' magnitudes in the loss, while they are learned."""
    error: float | None = None
    """Largest relative error of the tokens behind a block, in place of a budget; 0.01 if neither is given."""
    bits: float | None = None
    """Of each number, 2 to 16 (32 leaves the network as it is); 8 if neither this nor a budget is given. With --mixed
    on average."""
    mixed: bool = False
    """Parts of the network have bits of their own: those that suffer most have most."""
    scales: str = "similarity"
    """How the steps of quantisers are found: similarity (and ranking, in attention), min-max, percentile or mse."""
    images: int | None = None
    """Training images: for patch_slimming those that blocks are tuned and measured with, 512 if not given; for ptq
    those to calibrate with, 1000 or all that there are if not given."""
    recipe: str = "finetune"
    """Name of a recipe or path to a file of your own, by which gates are learned and the smaller network is trained
    on."""
    epochs: float | None = None
    """Passes over the training images of each training; the recipe's if not given."""
    batch_size: int | None = None
    """Images in a step; the recipe's if not given."""
    lr: float | None = None
    """Largest learning rate; the recipe's if not given."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Steps of trainings compute in it; parameters, statistics, norms, losses and evaluations are float32 either way.
    If not given, bfloat16 on GPUs and TPUs and float32 on CPUs."""
    train_on: bool = True
    """Leave the smaller network as the method gives it; else it is trained on (vtp, patch_slimming)."""
    seed: int = 0
    """Everything random follows from it."""
    data: str | None = None
    """Folder of images, .npz file, folder of IDX files, of shards (tar, ArrayRecord, TFRecord) or of Hugging Face's
    datasets (docs/data.md); the data of the network's own run if not given, and the Fashion-MNIST extract that comes
    with dnas for a network of no run."""
    new_classes: bool = False
    """Take data that name the network's classes otherwise: as many, compared by their place."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    data_in: Literal["auto", "memory", "stream"] = "auto"
    """Where image files are kept: decoded in memory, or on disk, from where they are streamed as they are needed; auto:
    in memory if they fit."""
    readers: int | None = None
    """Processes that decode what is streamed: one for each core if not given; 0 for threads of this process."""
    out: Path | None = None
    """Folder of the result; runs/NAME-METHOD if not given, with a number where another run has that."""
    overwrite: bool = False
    """Replace what the folder holds of another run; it stays until the new result is whole."""
    resume: bool = False
    """Go on where the run in the folder was stopped, which is found by itself without --out."""
    checkpoint_every: float | None = None
    """Seconds between checkpoints; every minute, but never more than 2 % of the time, if not given."""


def main(args: Arguments) -> None:
    """Makes a network smaller, as the arguments say."""
    from dnas.process.backend import configure
    from dnas.process.wing import start

    configure()
    start().begin()
    from dnas.compress.asked import Asked
    from dnas.compress.request import compress, requested
    from dnas.cost.budget import parse_budget
    from dnas.data.reading import Reading
    from dnas.runs.folder import Claiming
    from dnas.runs.result import read_result

    source = read_result(args.run, args.weights)
    budgets = tuple(parse_budget(text, sizes=True) for text in args.budget)
    names = ("rate", "penalty", "error", "bits", "mixed", "scales", "images")
    asked = Asked(args.method, budgets, **{name: getattr(args, name) for name in names})
    request = requested(
        source, asked, data=args.data, recipe=args.recipe,
        values={name: getattr(args, name) for name in ("epochs", "batch_size", "lr")}, seed=args.seed,
        reading=Reading(args.skip_bad, args.data_in, args.readers), train_on=args.train_on, precision=args.precision,
        new_classes=args.new_classes,
    )  # fmt: skip
    out = args.out or Path("runs") / f"{source.space.name}-{args.method}"
    claiming = Claiming(args.out is None and not args.overwrite, args.resume, args.overwrite)
    compress(request, out, console(), claiming, checkpoint_seconds=args.checkpoint_every)
