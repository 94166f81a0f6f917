"""A training as it is asked for, by the command or from Python: put together and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from dnas.data.image_side import check_side
from dnas.data.load import DEFAULT, Data, Source
from dnas.data.reading import Reading
from dnas.errors import InputError, UserError
from dnas.learning.terms import Term
from dnas.process import hosts
from dnas.process.devices import chosen
from dnas.process.free_memory import whole
from dnas.process.precision import Precision
from dnas.process.progress import told
from dnas.process.seed import checked_seed
from dnas.runs.folder import Claiming
from dnas.runs.lineage import lineage
from dnas.runs.recall import source_for
from dnas.runs.result import Result
from dnas.train.memory import must_fit
from dnas.train.recipe import DISTILLED, Recipe, read_recipe, with_values
from dnas.train.run import run_training
from dnas.train.setup import Start, make_setup, training_side

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Request:
    """What is trained, on what, and how."""

    source: Result
    data: Source
    recipe: Recipe
    start: Start | None
    side: int | None
    """Of the images given to the network, in pixels."""
    seed: int
    teacher: Result | None
    new_classes: bool
    terms: tuple[Term, ...] = ()
    """Of the loss, beside the recipe's."""
    devices: int | None = None
    """How many are computed on; None: `dnas.process.devices.chosen`."""
    precision: Precision | None = None
    """In which steps compute; None: what suits the device."""


def beginning(init: str | None, weights: Path | None) -> tuple[Start | None, Path | None]:
    """What the options `--init` and `--weights` say together: how a training begins, and the file to inherit from.

    `--init FILE.safetensors` means `--init inherited --weights FILE.safetensors`.

    Raises:
        InputError: a word that is not known, two files, or a file beside `scratch`.
    """
    words = get_args(Start)
    if init is None or init in words:
        if init == "scratch" and weights is not None:
            raise InputError("--weights", "not read with --init scratch", found=weights, accepted="one of the two")
        return cast("Start | None", init), weights
    if not Path(init).is_file() and not init.endswith(SUFFIX):
        raise InputError("--init", "unknown", found=init, accepted=f"{', '.join(words)}, or a file of weights")
    if weights is not None:
        raise InputError("--init", "a second file of weights beside --weights", found=init, accepted="one of the two")
    return "inherited", Path(init)


def requested(
    source: Result, *, data: Data | None = None, recipe: str | Path = "quick", values: Mapping[str, Any],
    start: Start | None = None, image_size: int | None = None, seed: int = 0, teacher: Result | None = None,
    new_classes: bool = False, reading: Reading = DEFAULT, distill: str | None = None, terms: Sequence[Term] = (),
    devices: int | None = None,
    precision: Precision | None = None,
) -> Request:  # fmt: skip
    """A request, whose arguments mean what the options of `dnas.cli.train` of the same names do.

    Args:
        start: as `beginning` reads it from `--init`.
        values: fields of the recipe in place of its own; those that are None are its own.
        terms: of the loss, beside the recipe's.

    Raises:
        InputError: a value that is not accepted, data that cannot be read or do not fit.
    """
    check_side(image_size)
    seed = checked_seed(seed)
    if distill not in (None, *DISTILLED):
        raise InputError("--distill", "unknown", found=distill, accepted=", ".join(DISTILLED))
    if distill is not None and teacher is None:
        raise InputError("--distill", "there is no teacher", found=distill, accepted="--teacher ARCH")
    learnt = {} if distill is None else DISTILLED[distill]
    chosen = with_values(read_recipe(recipe).fixed(), {**learnt, **values})
    lineage(source)  # a damaged one is told now, and not when all is done
    found = source_for(source, data, seed=source.data_seed(seed), reading=reading, new_classes=new_classes)
    return Request(
        source, found, chosen, start, image_size, seed, teacher, new_classes, tuple(terms), devices, precision
    )


def train(
    request: Request, out: Path, console: Any, claiming: Claiming, *, force: bool = False,
    checkpoint_seconds: float | None = None, commands: bool = True,
) -> None:  # fmt: skip
    """Trains, keeps the best epoch and writes the result's files into `out`; `console` is a rich one.

    With `commands` it ends by telling the files written and the commands that follow.

    Raises:
        UserError: too little memory, the folder of the architecture, of its weights or of the teacher, and what
            `dnas.train.run.run_training` raises.
        Stopped: after a signal.
    """
    source = request.source
    if any(file.resolve().parent == out.resolve() for file in _read(source)):
        raise UserError(f"--out {out}: the folder of the architecture itself; name another one")
    if request.teacher is not None and any(file.resolve().parent == out.resolve() for file in _read(request.teacher)):
        raise UserError(f"--out {out}: the folder of the teacher; name another one")
    devices = chosen(request.devices)
    side, why = training_side(source, request.data.native_side, request.start, request.side)
    with told(console, "decoding images") as progress:
        dataset = request.data.load(side, source.image_channels, why, progress, memory=hosts.agreed(whole()))
    setup = make_setup(
        source, dataset, request.recipe, start=request.start, side=side, seed=request.seed, teacher=request.teacher,
        new_classes=request.new_classes, terms=request.terms, devices=devices,
        precision=request.precision,
    )  # fmt: skip
    must_fit(setup)
    run_training(setup, out, console, claiming, force=force, checkpoint_seconds=checkpoint_seconds, commands=commands)


def _read(result: Result) -> list[Path]:
    """The files that a result consists of."""
    return [Path(result.space.source), *([] if result.weights is None else [Path(result.weights)])]
