"""Training of an architecture.

python -m dnas.train runs/fbnetv2-0
python -m dnas.train fbnetv2_f1 --data images/ --recipe fbnet --init scratch
python -m dnas.train deit_ti --init model.safetensors --data images/ --new-classes
python -m dnas.train runs/small --teacher runs/large
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from dnas.cli.argument_class import refuse
from dnas.process.console import console


@dataclass(frozen=True)
class Arguments:
    """Trains an architecture and keeps its best epoch."""

    groups: ClassVar[dict[str, str]] = {
        "arch": "what to train",
        "data": "data",
        "teacher": "a teacher",
        "out": "result and continuing",
    }

    arch: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one (see dnas.spaces)."""
    init: str | None = None
    """inherited, scratch or FILE.safetensors: begin with the architecture's weights, with random ones, or with those of
    a file, dnas' own or timm's; inherited where the architecture has some, if not given."""
    weights: Path | None = None
    """Weights to inherit, dnas' own or timm's; those beside the architecture if not given."""
    recipe: str = "quick"
    """Name of a recipe (quick, finetune, fashion, fbnet, fbnetv3, efficientformer, manifold) or path to a file of your
    own (docs/training.md)."""
    epochs: float | None = None
    """Passes over the training images; the recipe's if not given. Its warm-up and milestones scale along."""
    batch_size: int | None = None
    """Images in a step; the recipe's if not given."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Steps compute in it; parameters, statistics, norms, losses and evaluations are float32 either way. If not given,
    bfloat16 on GPUs and TPUs and float32 on CPUs."""
    distill: Literal["soft", "hard", "manifold"] | None = None
    """What is learnt from a teacher: its probabilities, its first guess, or its probabilities and the likeness of its
    patches, with the published weights (Hao et al. 2022); as the recipe says if not given."""
    lr: float | None = None
    """Largest learning rate; the recipe's if not given."""
    seed: int = 0
    """Everything random follows from it."""
    seeds: int = 1
    """Trains with so many seeds, --seed and those after it, each in a folder of its own, and gives a table of their
    mean and spread. The same command goes on where it was stopped."""
    data: str | None = None
    """Folder of images, .npz file, folder of IDX files, of shards (tar, ArrayRecord, TFRecord) or of Hugging Face's
    datasets (docs/data.md); the data of the architecture's own run if not given, and the Fashion-MNIST extract that
    comes with dnas for an architecture of no run."""
    image_size: Annotated[int | None, tyro.conf.arg(aliases=("--side",))] = None
    """Side of the images given to the network, in pixels, to which image files are decoded; the side that the network
    was made for if not given, and without a record no more than the images have."""
    new_classes: bool = False
    """The data have other classes than the architecture's run: the classifier begins anew, all other weights are
    kept."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    data_in: Literal["auto", "memory", "stream"] = "auto"
    """Where image files are kept: decoded in memory, or on disk, from where they are streamed as they are needed; auto:
    in memory if they fit."""
    readers: int | None = None
    """Processes that decode what is streamed: one for each core if not given; 0 for threads of this process."""
    teacher: str | None = None
    """An architecture whose scores are learnt from as well: result folder, file or name."""
    teacher_weights: Path | None = None
    """Its weights; those beside it if not given."""
    out: Path | None = None
    """Folder of the result; runs/NAME-trained-SEED if not given, with a number where another run has that."""
    overwrite: bool = False
    """Replace what the folder holds of another run; it stays until the new result is whole."""
    resume: bool = False
    """Continue from the last checkpoint in the run's folder, which is found by itself without --out."""
    force: bool = False
    """Continue even where options, data or versions have changed."""
    checkpoint_every: float | None = None
    """Seconds between checkpoints; every minute, but never more than 2 % of the time, if not given."""
    workers: int | None = None
    """With --seeds: trainings side by side, each a process; one a device if not given."""
    fanout: str = "processes"
    """With --seeds: where they run: processes of this machine, ray, or the address of a Ray cluster (HOST:PORT)."""
    devices: int | None = None
    """Devices that share each batch; all that JAX sees if not given, but one on a CPU (docs/devices.md)."""
    coordinator: str | None = None
    """One run on several hosts: where its processes meet, HOST:PORT of the first; auto: as the cluster says (TPU pod,
    Slurm, Open MPI). The same command is started on every host (docs/devices.md)."""
    processes: int | None = None
    """With --coordinator HOST:PORT: how many processes there are."""
    process: int | None = None
    """With --coordinator HOST:PORT: number of this one, from 0."""


def main(args: Arguments) -> None:
    """Reads architecture, recipe and data, then trains."""
    meeting = ("coordinator", "processes", "process")
    if args.seeds != 1:
        refuse(args, meeting, "not with --seeds, whose trainings have a process each")
        return _seeds(args)
    refuse(args, ("workers", "fanout"), "only with --seeds")
    from dnas.process.backend import configure
    from dnas.process.hosts import Hosts
    from dnas.process.wing import start

    hosts = Hosts(*(getattr(args, name) for name in meeting))
    hosts.watched()
    configure(hosts=hosts)
    if (args.devices or 1) == 1 and not hosts.several:
        start().begin()
    from dnas.data.reading import Reading
    from dnas.runs.folder import Claiming
    from dnas.runs.result import read_result
    from dnas.train.request import beginning, requested, train

    if args.teacher is None:
        refuse(args, ("teacher_weights",), "there is no teacher")
    start_with, weights = beginning(args.init, args.weights)
    source = read_result(args.arch, weights)
    teacher = None if args.teacher is None else read_result(args.teacher, args.teacher_weights)
    request = requested(
        source, data=args.data, recipe=args.recipe,
        values={name: getattr(args, name) for name in ("epochs", "batch_size", "lr")},
        start=start_with, distill=args.distill,
        image_size=args.image_size, seed=args.seed, teacher=teacher, new_classes=args.new_classes,
        reading=Reading(args.skip_bad, args.data_in, args.readers), devices=args.devices, precision=args.precision,
    )  # fmt: skip
    out = args.out or Path("runs") / f"{source.space.name}-trained-{args.seed}"
    claiming = Claiming(args.out is None and not args.overwrite, args.resume, args.overwrite)
    train(request, out, console(), claiming, force=args.force, checkpoint_seconds=args.checkpoint_every)


def _seeds(args: Arguments) -> None:
    """Trainings that differ by their seed alone."""
    from dnas.cli.seeds import run
    from dnas.runs.result import read_result

    run("train", args, f"{read_result(args.arch).space.name}-trained")
