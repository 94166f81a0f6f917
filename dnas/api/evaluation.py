"""Accuracy from Python: the function of `python -m dnas.evaluate`."""

from __future__ import annotations

import os
from typing import Any

from dnas.api.guard import guarded
from dnas.api.results import RunResult
from dnas.api.spaces import SpaceLike, load, result_for
from dnas.api.training import remembered
from dnas.api.values import plain_arguments
from dnas.data.load import Data
from dnas.data.reading import DataIn, Reading
from dnas.process.console import console


@plain_arguments
def run_evaluation(
    architecture: SpaceLike | RunResult, *, data: Data | None = None, weights: str | os.PathLike[str] | None = None,
    split: str = "test", seed: int | None = None, new_classes: bool = False,
    skip_bad: bool = False, data_in: DataIn = "auto", readers: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Measures the accuracy of an architecture with its weights, as `python -m dnas.evaluate --json` does.

    Args:
        architecture: a result, or what `dnas.load` takes.
        data: as in `dnas.run_search`; those of the architecture's own run if not given.
        weights: a safetensors file; that beside the architecture if not given.
        split: `test`, `validation` (where the data have one) or `train`.
        seed: of the test split of data that have none; as recorded with the architecture if not given.
        new_classes: the data name their classes otherwise: they are compared by their place.
        skip_bad: leave out images that cannot be read.
        data_in: where image files are kept: decoded in `memory`, or on disk (`stream`); in memory if they fit, if not
            given.
        readers: processes that decode what is streamed: one for each core if not given; 0 for threads.
        quiet: print nothing; else the progress of what takes long.

    Returns:
        `top1` and, of more than five classes, `top5`, from 0 to 1; `chance`; `images`, how many; `confusion`
        [classes, classes], rows the right class (None of more than 20); `classes`, `input`, `notes`, `warnings`.

    Raises:
        UserError: no weights, data that cannot be read or do not fit the network.
    """
    with guarded():
        from dnas.learning.evaluation_report import evaluate

        result, name = result_for(architecture, weights), load(architecture).source
        return evaluate(
            result, name, console(quiet), data=remembered(architecture, data), split=split, seed=seed,
            new_classes=new_classes, reading=Reading(skip_bad, data_in, readers),
        )  # fmt: skip
