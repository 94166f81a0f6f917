"""python -m dnas.search SPACE --budget 200MFLOPs"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from dnas.cli.argument_class import refuse

if TYPE_CHECKING:
    from dnas.space.space import Space


@dataclass(frozen=True)
class Arguments:
    """Searches a space for the best network within every budget."""

    groups: ClassVar[dict[str, str]] = {
        "space": "what to search",
        "data": "data",
        "out": "result and continuing",
        "epochs": "time and memory",
        "fill": "how the budget is used",
        "rank_by": "of single strategies",
        "weights_lr": "of papers, for experts",
    }

    space: Annotated[str, tyro.conf.Positional]
    """Name of a search space (see dnas.spaces) or path to a file of your own."""
    budget: tuple[str, ...] = ()
    """Upper limit that the result keeps: 200MFLOPs (multiply-adds), 5Mparams, 12ms@TABLE. Several may be given."""
    strategy: Literal["dmasking", "slimming", "sandwich", "random", "evolution", "space_evolution", "joint"] | None = (
        None
    )
    """The one that the space's file names (dmasking where it names none). dmasking: weights and choices' logits in turn
    (FBNet). slimming, sandwich: from the largest network down, action by action (EfficientFormer V1, V2). random,
    evolution: the best of networks sampled from a supernet. space_evolution: first moves the space's lists of numbers
    to where networks err less, and writes the better space (space.yaml), then evolution in it (S3). joint: trains
    networks one by one and finds architecture and training recipe together (FBNetV3)."""
    family: str | None = None
    """With dmasking, slimming, sandwich or joint: several budgets of one kind, A,B,C, each of which gets a network from
    the one run; with dmasking each has choices and weights of its own in family/BUDGET."""
    start: str | None = None
    """With dmasking: a design to begin at, scaled into the budgets: name of a published network, file or result
    folder. It takes part in the race at the end."""
    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: does everything run (about a minute); quick: minutes on a laptop; paper: FBNetV2's schedule. Not of joint,
    whose trainings the recipe describes."""
    seed: int = 0
    """Everything random follows from it."""
    seeds: int = 1
    """Searches with so many seeds, --seed and those after it, each in a folder of its own, and gives a table of their
    mean and spread. The same command goes on where it was stopped."""
    data: str | None = None
    """Folder of images, .npz file, folder of IDX files, of shards (tar, ArrayRecord, TFRecord) or of Hugging Face's
    datasets (docs/data.md); a Fashion-MNIST extract that comes with dnas if not given."""
    image_size: Annotated[int | None, tyro.conf.arg(aliases=("--side",))] = None
    """Side of the images given to the supernet, in pixels, to which image files are decoded. If not given: their own,
    at most 64 (paper: the space's own), and at least twice the space's stride."""
    classes: int | None = None
    """Number of classes that the budgets count; the space's own if not given."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    data_in: Literal["auto", "memory", "stream"] = "auto"
    """Where image files are kept: decoded in memory, or on disk, from where they are streamed as they are needed; auto:
    in memory if they fit."""
    readers: int | None = None
    """Processes that decode what is streamed: one for each core if not given; 0 for threads of this process."""
    out: Path | None = None
    """Folder of the result; runs/SPACE-SEED if not given, with a number where another run has that."""
    overwrite: bool = False
    """Replace what the folder holds of another run; it stays until the new result is whole."""
    resume: bool = False
    """Go on from the newest checkpoint in the run's folder, which is found by itself without --out; from the beginning
    where there is none."""
    force: bool = False
    """With --resume: go on although an option, the space, the data or a version has changed."""
    checkpoint_every: float | None = None
    """Seconds between checkpoints; every minute, but never more than 2 % of the time, if not given."""
    epochs: float | None = None
    """Passes over the training data; the preset's if not given (smoke: 0.12, quick: 11, paper: 90)."""
    batch_size: int | None = None
    """Images in a step; the preset's if not given (smoke and quick: 16, paper: 192)."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Steps compute in it; parameters, statistics, norms, losses and evaluations are float32 either way. If not given,
    bfloat16 on GPUs and TPUs and float32 on CPUs."""
    low_memory: bool = False
    """Keep less for the backward pass and compute it again: the same result, less memory, more time."""
    max_memory: str | None = None
    """Most memory of the search's arrays and programs, e.g. 4GB: where it would need more, it samples fewer paths, then
    computes again what it does not keep, then takes smaller batches, and says so."""
    paths: int | None = None
    """Blocks run in a step of a choice between whole blocks, of the largest gates (2; paper: 0); 0 for all, mixed
    softly."""
    resolution_paths: int | None = None
    """Resolutions evaluated in a step, of the largest gates (2; paper: 0); 0 for all of them, mixed softly."""
    fill: float | None = None
    """Least share of one budget that the result must use; 0 asks for no more than the limits. If not given, accuracy
    decides; random, evolution and --family then take networks that use 97 %."""
    skip_limit: float | None = None
    """With dmasking: largest share of the blocks that are skipped in the mean while choices are learned (0.4); 1 for no
    guard."""
    rank_by: Literal["accuracy", "loss"] | None = None
    """With slimming or sandwich: what actions are ranked by; ties are broken by the other (accuracy)."""
    rankings: int | None = None
    """With slimming or sandwich: most rankings on the way to the budget (24; paper: 0); 0 for one action a ranking,
    as published."""
    supernet: Literal["single_path", "sandwich"] | None = None
    """With sandwich, random, evolution or space_evolution: how the weights learn: one network drawn in each step, or
    the largest, the smallest and some drawn (as S3 does); sandwich for the strategy of that name if not given, else
    single_path."""
    sandwich_random: int | None = None
    """Networks drawn for a step of --supernet sandwich (2)."""
    distill: bool = False
    """With --supernet sandwich: all networks but the largest learn its probabilities instead of the labels (in-place
    distillation)."""
    mes_sign: Literal["minus", "plus"] | None = None
    """With sandwich: sign of the exponents in the mobile efficiency score; minus, where smaller scores higher
    (minus)."""
    noise: Literal["gumbel", "uniform"] | None = None
    """With dmasking or slimming: noise on the choices' logits: gumbel, or uniform as EfficientFormer prints it
    (gumbel)."""
    samples: int | None = None
    """With random: networks compared. With space_evolution: networks drawn from each space (64; paper: 1000)."""
    population: int | None = None
    """With evolution, here and below also that of space_evolution: networks in a generation (16; paper, here and below
    AutoFormer's numbers: 50)."""
    generations: int | None = None
    """With evolution: generations (6; paper: 20)."""
    parents: int | None = None
    """With evolution: best networks so far that have children (6; paper: 10)."""
    parents_apart: int | None = None
    """With evolution: choices in which any two of them differ, at least (1, as published; paper: 3)."""
    mutations: int | None = None
    """With evolution: children by mutation in a generation; half of the population if not given (paper: 25)."""
    crossovers: int | None = None
    """With evolution: children by crossover; the rest if not given (paper: 25). What is missing is drawn."""
    attempts: int | None = None
    """With evolution: children made for each one wanted, at most (10)."""
    mutation: float | None = None
    """With evolution: probability with which a mutation draws a choice of one block anew (0.2)."""
    network_mutation: float | None = None
    """With evolution: the same of a choice of the whole network, such as a depth or a shared width (0.4)."""
    space_steps: int | None = None
    """With space_evolution: times that the space moves (2); a supernet is trained in each space."""
    space_tau: float | None = None
    """With space_evolution: percentage points of error from one choice of a list to the next for each step by which the
    list moves (0.4, a guess: S3 prints none)."""
    space_rule: Literal["floor", "trunc"] | None = None
    """With space_evolution: how slope / tau becomes whole steps; floor as published, where the least falling moves a
    list up, or trunc, which leaves what changes by less than tau either way."""
    trainings: int | None = None
    """With joint: networks trained for one set of budgets, all together (24)."""
    rounds: int | None = None
    """With joint: rounds in which the predictor names the next candidates (4)."""
    winners: int | None = None
    """With joint: pairs trained whole at the end, the best of which is the result; one in ten of --trainings if not
    given."""
    recipe: str | None = None
    """With joint: name or file of the training recipe (quick), whose fields may be choices; the space's section
    'recipe' takes the place of its own."""
    workers: int | None = None
    """With joint: trainings side by side, each a process; with --seeds: searches; one a device if not given."""
    fanout: str = "processes"
    """With joint or --seeds: where they run: processes of this machine, ray, or the address of a Ray cluster
    (HOST:PORT)."""
    weights_lr: float | None = None
    """Learning rate of the weights (0.02; paper: 0.1)."""
    theta_lr: float | None = None
    """With dmasking or slimming: learning rate of the choices' logits (0.1; smoke: 0.3; paper: 0.01)."""
    loss_form: Literal["log_of_power", "power_of_log", "additive"] | None = None
    """With dmasking: how cross-entropy and cost combine: CE*alpha*log(LAT^beta), CE*alpha*log(LAT)^beta, or their sum
    (log_of_power)."""
    costs: Literal["exact", "paper"] | None = None
    """With dmasking: what the choices take for the mean cost: exact, or the paper's product of effective sizes
    (exact; paper: paper). The network found keeps its budgets by exact costs either way."""
    alpha: float | None = None
    """With dmasking: weight of the cost in the loss of the choices (0.2)."""
    beta: float | None = None
    """With dmasking: power of the cost in the loss of the choices (0.6)."""
    devices: int | None = None
    """Devices that share each batch; all that JAX sees if not given, but one on a CPU (docs/devices.md)."""
    coordinator: str | None = None
    """One run on several hosts: where its processes meet, HOST:PORT of the first; auto: as the cluster says (TPU pod,
    Slurm, Open MPI). The same command is started on every host (docs/devices.md)."""
    processes: int | None = None
    """With --coordinator HOST:PORT: how many processes there are."""
    process: int | None = None
    """With --coordinator HOST:PORT: number of this one, from 0."""
    profile: Path | None = None
    """Folder for a trace of a few steps, for TensorBoard or Perfetto."""
    tensorboard: bool = False
    """Also write TensorBoard event files into the result's folder, while it runs (needs dnas[log])."""


SETTINGS = (
    "epochs", "batch_size", "fill", "weights_lr", "theta_lr", "loss_form", "costs", "alpha", "beta",
    "resolution_paths", "paths", "skip_limit", "rank_by", "rankings", "noise", "mes_sign", "supernet",
    "sandwich_random", "samples", "population", "generations", "parents", "mutations", "crossovers", "attempts",
    "parents_apart", "mutation", "network_mutation", "space_steps", "space_tau", "space_rule", "precision",
)  # fmt: skip
"""Options that are fields of `dnas.search.settings.Settings` under their own names."""
FLAGS = ("distill", "low_memory")
"""The same, of those that can only be switched on."""


MEETING = ("coordinator", "processes", "process")
OF_PLAN = ("trainings", "rounds", "winners")
OF_JOINT = (*OF_PLAN, "recipe")
SIDE_BY_SIDE = ("workers", "fanout")
NOT_OF_JOINT = (
    "preset", "start", "max_memory", "force", "checkpoint_every", "profile", "tensorboard", "devices", *MEETING, *FLAGS,
    *(name for name in SETTINGS if name not in ("epochs", "batch_size", "fill", "precision")),
)  # fmt: skip


def main(args: Arguments) -> None:
    """Reads what is asked for, then searches."""
    from dnas.grammar.catalogue import load_space
    from dnas.search import strategies

    space = load_space(args.space, args.classes)
    joint = (args.strategy or strategies.of(space)) == strategies.JOINT
    refuse(args, NOT_OF_JOINT if joint else OF_JOINT, f"{'not' if joint else 'only'} of --strategy joint")
    if args.seeds != 1:
        refuse(args, MEETING, "not with --seeds, whose searches have a process each")
        return _seeds(args, space, joint)
    if not joint:
        refuse(args, SIDE_BY_SIDE, "only of --strategy joint or with --seeds")
    (_joint if joint else _supernet)(args, space)


def _seeds(args: Arguments, space: Space, joint: bool) -> None:
    """Searches that differ by their seed alone. Those of joint run one after the other: their trainings are what is
    side by side."""
    from dnas.cli.seeds import run
    from dnas.fanout.choose import one_after_the_other

    own = () if joint else SIDE_BY_SIDE
    run("search", args, space.name, side_by_side=own, pool=one_after_the_other() if joint else None)


def _supernet(args: Arguments, space: Space) -> None:
    """A search of the networks inside a supernet."""
    from dnas.data.reading import Reading
    from dnas.grammar.catalogue import load_space
    from dnas.search.request import requested, search

    settings = {name: getattr(args, name) for name in SETTINGS} | {n: getattr(args, n) or None for n in FLAGS}
    request = requested(
        space, data=args.data, budgets=args.budget, family=args.family,
        strategy=args.strategy, start=None if args.start is None else load_space(args.start), preset=args.preset,
        seed=args.seed, reading=Reading(args.skip_bad, args.data_in, args.readers),
            max_memory=args.max_memory, devices=args.devices,
        settings=settings | {"side": args.image_size},
    )  # fmt: skip
    from dnas.process.backend import configure
    from dnas.process.hosts import Hosts
    from dnas.process.wing import start

    hosts = Hosts(*(getattr(args, name) for name in MEETING))
    hosts.watched()
    configure(hosts=hosts)
    if (args.devices or 1) == 1 and not hosts.several:
        start().begin()
    from dnas.search.console import Console
    from dnas.search.run import Options

    options = Options(
        args.preset, args.resume, args.force, args.checkpoint_every, args.profile, args.tensorboard,
        overwrite=args.overwrite, numbered=args.out is None and not args.overwrite,
    )  # fmt: skip
    search(request, _out(args, space), Console(), options)


def _out(args: Arguments, space: Space) -> Path:
    return args.out or Path("runs") / f"{space.name}-{args.seed}"


def _joint(args: Arguments, space: Space) -> None:
    """A search of architecture and recipe, by trainings."""
    from dnas.data.reading import Reading
    from dnas.fanout.choose import chosen
    from dnas.joint.request import requested
    from dnas.joint.stages import Plan
    from dnas.process.backend import configure
    from dnas.process.console import console
    from dnas.runs.folder import Claiming

    plan = Plan(**{n: getattr(args, n) for n in OF_PLAN if getattr(args, n) is not None}).validated()
    workers = chosen(args.workers, args.fanout)
    configure()
    given = requested(
        space, recipe=args.recipe or "quick", values={"epochs": args.epochs, "batch_size": args.batch_size},
        budgets=args.budget, family=args.family, plan=plan, fill=args.fill, data=args.data, image_size=args.image_size,
        reading=Reading(args.skip_bad, args.data_in, args.readers), seed=args.seed, console=console(),
        precision=args.precision,
    )  # fmt: skip
    from dnas.joint.run import run_joint

    claiming = Claiming(numbered=args.out is None and not args.overwrite, overwrite=args.overwrite)
    run_joint(given, _out(args, space), workers, console(), claiming)
