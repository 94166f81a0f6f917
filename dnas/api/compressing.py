"""A compression from Python: the function of `python -m dnas.compress`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dnas.api.guard import guarded
from dnas.api.results import CompressionResult, Place, RunResult, opened
from dnas.api.searching import GO_ON, LOST
from dnas.api.spaces import SpaceLike, result_for
from dnas.api.training import remembered
from dnas.api.values import plain_arguments, plain_values, texts
from dnas.data.load import Data
from dnas.data.reading import DataIn, Reading
from dnas.process.console import console
from dnas.runs.folder import Claiming


@plain_arguments
def run_compression(
    architecture: SpaceLike | RunResult, method: Literal["vtp", "patch_slimming", "ptq"], *,
    budgets: str | Sequence[str] = (), rate: float | None = None, penalty: float = 1e-4, error: float | None = None,
    bits: float | None = None, mixed: bool = False,
    scales: Literal["similarity", "min-max", "percentile", "mse"] = "similarity", images: int | None = None,
    weights: str | os.PathLike[str] | None = None, data: Data | None = None,
    recipe: str | os.PathLike[str] = "finetune", train_on: bool = True, seed: int = 0,
    new_classes: bool = False, skip_bad: bool = False, data_in: DataIn = "auto", readers: int | None = None,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False, resume: bool = False,
    checkpoint_every: float | None = None, quiet: bool = False,
    precision: Literal["float32", "bfloat16"] | None = None, **values: Any,
) -> CompressionResult:  # fmt: skip
    """Makes a trained network smaller, as `python -m dnas.compress` does.

    Args:
        architecture: a result with weights, or what `dnas.load` takes together with `weights`.
        method: `vtp` prunes channels by learned gates; `patch_slimming` drops tokens that matter little; `ptq`
            quantises all products.
        budgets: upper limits that the result keeps: `200MFLOPs`, `5Mparams`; with `ptq` one of `2.5MB`.
        rate: with `vtp`, the share of the channels that goes, in place of a budget.
        penalty: with `vtp`, the weight of the gates' magnitudes while they are learned.
        error: with `patch_slimming`, the largest relative error of the tokens behind a block, in place of a budget.
        bits: with `ptq`, of each number; 8 if not given.
        mixed: with `ptq`, parts have bits of their own, on average `bits`.
        scales: with `ptq`, how the steps of quantisers are found.
        images: training images to calibrate with (`ptq`), or to tune and measure blocks with (`patch_slimming`).
        weights: a safetensors file; that beside the architecture if not given.
        data: as in `dnas.run_search`; those of the architecture's own run if not given.
        recipe: by which gates are learned and the smaller network is trained on.
        train_on: train the smaller network on, where the method does that.
        seed: everything random follows from it.
        new_classes: the data name the network's classes otherwise: as many, compared by their place.
        skip_bad: leave out images that cannot be read.
        data_in: where image files are kept: decoded in `memory`, or on disk (`stream`); in memory if they fit, if not
            given.
        readers: processes that decode what is streamed: one for each core if not given; 0 for threads.
        out: folder of the result; a temporary one if not given, of which `CompressionResult.save` makes a lasting copy.
        overwrite: replace what `out` holds of another run.
        resume: go on where the run in `out` was stopped.
        checkpoint_every: seconds between checkpoints; every minute, but never more than 2 % of the time, if not given.
        quiet: print nothing.
        precision: in which steps of trainings compute, as in `dnas.run_training`.
        **values: fields of the recipe in place of its own, such as `epochs=2`.

    Returns:
        The smaller network, and what it was before.

    Raises:
        UserError: anything that the command would say in one line.
        Stopped: after Ctrl-C or SIGTERM.
    """
    place = Place(out)
    with guarded(go_on=GO_ON if place.named else LOST):
        from dnas.compress.asked import Asked
        from dnas.compress.request import compress, requested
        from dnas.cost.budget import parse_budget

        limits = tuple(parse_budget(text, sizes=True) for text in texts("budgets", budgets))
        asked = Asked(
            method, limits, rate=rate, penalty=penalty, error=error, bits=bits, mixed=mixed, scales=scales,
            images=images,
        )  # fmt: skip
        data = remembered(architecture, data)
        request = requested(
            result_for(architecture, None if weights is None else Path(weights)), asked, data=data,
            recipe=os.fspath(recipe), values=plain_values(values), seed=seed,
            reading=Reading(skip_bad, data_in, readers), train_on=train_on,
            precision=precision, new_classes=new_classes,
        )  # fmt: skip
        compress(
            request, place.path, console(quiet), Claiming(resume=resume, overwrite=overwrite),
            checkpoint_seconds=checkpoint_every, commands=False,
        )  # fmt: skip
    return opened(place, data)
