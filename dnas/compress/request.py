"""A compression as it is asked for, by the command or from Python: put together and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.compress.asked import Asked
from dnas.compress.methods import check_options, method
from dnas.compress.run import run_compression
from dnas.data.load import DEFAULT, Data, Source
from dnas.data.reading import Reading
from dnas.errors import InputError, UserError
from dnas.process.precision import Precision
from dnas.process.progress import told
from dnas.process.seed import checked_seed
from dnas.runs.folder import Claiming
from dnas.runs.lineage import lineage
from dnas.runs.recall import source_for
from dnas.runs.result import Result, preprocessing_of
from dnas.train.recipe import Recipe, read_recipe, with_values
from dnas.train.setup import make_setup, training_side

DEFAULT_RECIPE = "finetune"


@dataclass(frozen=True, eq=False)
class Request:
    """What is made smaller, how, on which data, and how it is trained on."""

    source: Result
    asked: Asked
    data: Source
    recipe: Recipe
    seed: int
    train_on: bool
    """Whether the smaller network is trained on, where the method does that."""
    precision: Precision | None = None
    """In which steps of trainings compute; None: what suits the device."""


def requested(
    source: Result, asked: Asked, *, data: Data | None = None, recipe: str | Path = DEFAULT_RECIPE,
    values: Mapping[str, Any], seed: int = 0, reading: Reading = DEFAULT, train_on: bool = True,
    precision: Precision | None = None, new_classes: bool = False,
) -> Request:  # fmt: skip
    """A request, whose arguments mean what the options of `dnas.cli.compress` of the same names do.

    Raises:
        UserError: a value that is not accepted, a network without weights or without what the method needs, data that
            cannot be read or do not fit.
    """
    check_options(asked)
    declared = method(asked.method)
    if not declared.trains_on:
        _refuse_training(asked, {"precision": precision, "no_train_on": train_on is False or None, **values}, recipe)
    seed = checked_seed(seed)
    if source.network.quantization:
        where, accepted = f"{source.space.source}: quantization", "the network before it was: quantising comes last"
        raise InputError(where, "the network is quantised already", accepted=accepted)
    if source.weights is None:
        raise InputError(
            source.space.source, "no weights: only a trained network can be made smaller",
            accepted="a result folder, or --weights FILE.safetensors",
        )  # fmt: skip
    declared.check(source.network, asked)
    lineage(source)  # a damaged one is told now, and not when all is done
    chosen = with_values(read_recipe(recipe).fixed(), values)
    found = source_for(
        source, data, seed=source.data_seed(seed), reading=reading, keeps_classifier=True, new_classes=new_classes
    )
    return Request(source, asked, found, chosen, seed, train_on, precision)


def _refuse_training(asked: Asked, options: Mapping[str, Any], recipe: str | Path) -> None:
    """Raises `InputError` for what a method that trains nothing would not read."""
    given = {name: value for name, value in options.items() if value is not None}
    if str(recipe) != DEFAULT_RECIPE:
        given["recipe"] = recipe
    for name, value in given.items():
        option, problem = f"--{name.replace('_', '-')}", f"does nothing with {asked.method}, which trains nothing"
        raise InputError(option, problem, found=value, accepted="no option of a training")


def compress(
    request: Request, out: Path, console: Any, claiming: Claiming, *,
    checkpoint_seconds: float | None = None, commands: bool = True,
) -> None:  # fmt: skip
    """Makes the network smaller and writes the result's files into `out`; `console` is a rich one.

    Raises:
        UserError: the folder of the network itself, and what `dnas.compress.run.run_compression` raises.
        Stopped: after a signal; what was done is kept.
    """
    source = request.source
    read = (Path(source.space.source), *([] if source.weights is None else [Path(source.weights)]))
    if any(file.resolve().parent == out.resolve() for file in read):
        raise UserError(f"--out {out}: the folder of the network itself; name another one")
    side, why = training_side(source, request.data.native_side, "inherited")
    with told(console, "decoding images") as progress:
        dataset = request.data.load(side, source.image_channels, why, progress)
    preprocessing_of(source, dataset)  # raises where data do not fit, without the options of a training
    setup = make_setup(
        source, dataset, request.recipe, start="inherited", side=side, seed=request.seed, precision=request.precision
    )
    run_compression(
        setup, request.asked, out, console, claiming, train_on=request.train_on,
        checkpoint_seconds=checkpoint_seconds, commands=commands,
    )  # fmt: skip
