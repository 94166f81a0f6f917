"""Training of an architecture.

python -m dnas.train runs/fbnetv2-0 --data images/
python -m dnas.train fbnetv2_f1 --data images/ --recipe fbnet --init scratch
python -m dnas.train runs/small --data images/ --teacher runs/large
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnas.cli import console, run
from dnas.restart import with_lasting_memory


@dataclass(frozen=True)
class Arguments:
    """Trains an architecture and keeps its best epoch."""

    arch: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one (see dnas.spaces)."""
    data: str | None = None
    """Image folder, .npz file or folder of IDX files; the Fashion-MNIST extract that comes with dnas if not given."""
    init: Literal["inherited", "scratch"] | None = None
    """Begin with the architecture's weights or with random ones; inherited where it has some, if not given."""
    weights: Path | None = None
    """Weights to inherit; those beside the architecture if not given."""
    recipe: str = "quick"
    """Name of a recipe (quick, fbnet, fbnetv3, efficientformer) or path to a file of your own."""
    epochs: float | None = None
    """Passes over the training images; the recipe's if not given. Its warm-up and milestones scale along."""
    batch_size: int | None = None
    """Images in a step; the recipe's if not given."""
    lr: float | None = None
    """Largest learning rate; the recipe's if not given."""
    teacher: str | None = None
    """An architecture whose scores are learnt from as well: result folder, file or name."""
    teacher_weights: Path | None = None
    """Its weights; those beside it if not given."""
    side: int | None = None
    """Side of the images given to the network; by the data and the network's stride if not given."""
    out: Path | None = None
    """Folder of the result; runs/NAME-trained-SEED if not given, with a number where another run has that."""
    overwrite: bool = False
    """Replace what the folder holds of another run; it stays until the new result is whole."""
    seed: int = 0
    """Everything random follows from it."""
    resume: bool = False
    """Continue from the last checkpoint in the run's folder, which is found by itself without --out."""
    force: bool = False
    """Continue even where options, data or versions have changed."""
    checkpoint_every: float | None = None
    """Seconds between checkpoints; every minute, but never more than 2 % of the time, if not given."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""


def main(args: Arguments) -> None:
    from dnas.backend import configure

    configure()
    from dnas.data.load import load
    from dnas.errors import InputError, UserError
    from dnas.results import read_result
    from dnas.train.recipe import read_recipe, with_values

    if args.side is not None and not 1 <= args.side <= 4096:
        raise InputError("--side", "out of range", found=args.side, accepted="1 to 4096")
    options = {name: getattr(args, name) for name in ("epochs", "batch_size", "lr")}
    recipe = with_values(read_recipe(args.recipe).fixed(), options)
    source = read_result(args.arch, args.weights)
    teacher = None if args.teacher is None else read_result(args.teacher, args.teacher_weights)
    out = args.out or Path("runs") / f"{source.space.name}-trained-{args.seed}"
    if Path(source.space.source).resolve().parent == out.resolve():
        raise UserError(f"--out {out}: the folder of the architecture itself; name another one")
    side = args.side and min(args.side, 1024)
    dataset = load(
        args.data, seed=source.data_seed(args.seed), skip_bad=args.skip_bad, resolution=side or source.data_side
    )
    from dnas.runs import Terms
    from dnas.train.run import run_training
    from dnas.train.setup import make_setup

    setup = make_setup(
        source, dataset, recipe, start=args.init, side=args.side, seed=args.seed, teacher=teacher
    )  # fmt: skip
    terms = Terms(args.out is None and not args.overwrite, args.resume, args.overwrite)
    run_training(setup, out, console(), terms, force=args.force, checkpoint_seconds=args.checkpoint_every)


if __name__ == "__main__":
    with_lasting_memory()
    run(main, Arguments)
