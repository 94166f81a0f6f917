"""Was a search worth it? The network found and others of its cost, trained alike.

python -m dnas.compare runs/fbnetv2-0
python -m dnas.compare runs/fbnetv2-0 --against fbnetv2_f3 fbnetv2_f4 --random 8 --seeds 3 --epochs 15
python -m dnas.compare mine.json --space fbnetv2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from dnas.process.console import console


@dataclass(frozen=True)
class Arguments:
    """Trains the network a search found, others drawn at its cost and published ones by one recipe, and compares them.

    The same command goes on where it was stopped: no training is run twice, also with more --seeds or --random."""

    groups: ClassVar[dict[str, str]] = {
        "run": "what to compare",
        "recipe": "the training of all",
        "data": "data",
        "out": "result and continuing",
    }

    run: Annotated[str, tyro.conf.Positional]
    """Result folder of a search, or an architecture's file together with --space."""
    random: int = 8
    """Networks of the same space drawn evenly at the cost of the one found."""
    seeds: int = 3
    """Trainings of each network: with --seed, the seed after it, and so on."""
    against: tuple[str, ...] = ()
    """Further networks, as they are: names of published ones, files, result folders."""
    published: int = 2
    """Published designs scaled to the cost of the network found, at most; those most alike to the space."""
    space: str | None = None
    """Search space that the network comes from; the one of its search if not given."""
    recipe: str = "quick"
    """Name of a recipe (quick, finetune, fashion, fbnet, fbnetv3, efficientformer) or path to a file of your own
    (docs/training.md)."""
    epochs: float | None = None
    """Passes over the training images; the recipe's if not given. Its warm-up and milestones scale along."""
    batch_size: int | None = None
    """Images in a step; the recipe's if not given."""
    seed: int = 0
    """The first seed; the drawn networks follow from it."""
    data: str | None = None
    """Folder of images, .npz file, folder of IDX files, of shards (tar, ArrayRecord, TFRecord) or of Hugging Face's
    datasets (docs/data.md); the data of the search if not given."""
    image_size: Annotated[int | None, tyro.conf.arg(aliases=("--side",))] = None
    """Side of the images, in pixels, for the space's largest resolution; that of the search if not given. Each network
    has its share of it."""
    new_classes: bool = False
    """The data have other classes than the search, or than a network of --against."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    data_in: Literal["auto", "memory", "stream"] = "auto"
    """Where image files are kept: decoded in memory, or on disk, from where they are streamed as they are needed; auto:
    in memory if they fit."""
    readers: int | None = None
    """Processes that decode what is streamed: one for each core if not given; 0 for threads of this process."""
    out: Path | None = None
    """Folder of the result; runs/RUN-compared if not given, with a number where another comparison has that."""
    overwrite: bool = False
    """Begin anew and replace what the folder holds."""
    workers: int | None = None
    """Trainings side by side, each a process; one a device if not given."""
    fanout: str = "processes"
    """Where they run: processes of this machine, ray, or the address of a Ray cluster (HOST:PORT)."""


def main(args: Arguments) -> None:
    """Compares a result with other networks, as the arguments say."""
    from dnas.fanout.choose import chosen
    from dnas.process.backend import configure

    pool = chosen(args.workers, args.fanout)
    configure()
    from dnas.compare.contenders import contenders
    from dnas.compare.run import run_comparison
    from dnas.compare.subject import read_subject
    from dnas.compare.trainings import Premises
    from dnas.data.image_side import check_side
    from dnas.data.reading import Reading
    from dnas.errors import InputError
    from dnas.process.progress import working
    from dnas.process.seed import checked_seed
    from dnas.runs.folder import Claiming
    from dnas.train.recipe import read_recipe, with_values

    check_side(args.image_size)
    for option, value, least in (("--random", args.random, 0), ("--seeds", args.seeds, 1),
                                 ("--published", args.published, 0)):  # fmt: skip
        if not least <= value <= 1000:
            raise InputError(option, "out of range", found=value, accepted=f"{least} to 1000")
    checked_seed(args.seed, args.seeds)
    recipe = with_values(read_recipe(args.recipe).fixed(), {"epochs": args.epochs, "batch_size": args.batch_size})
    subject = read_subject(args.run, args.space)
    reading = Reading(args.skip_bad, args.data_in, args.readers)
    data = subject.data(args.data, args.seed, reading=reading, new_classes=args.new_classes)
    side = subject.side(data, args.image_size)
    with working(console(), "drawing networks"):
        lineup = contenders(
            subject, side, drawn=args.random, scaled=args.published, against=args.against, seed=args.seed,
            class_names=data.class_names, new_classes=args.new_classes,
        )  # fmt: skip
    given = Premises(subject, lineup, data, side, recipe, args.seed, args.seeds, reading)
    out = args.out or Path("runs") / f"{subject.label}-compared"
    claiming = Claiming(numbered=args.out is None and not args.overwrite, overwrite=args.overwrite)
    run_comparison(given, pool, out, console(), claiming)
