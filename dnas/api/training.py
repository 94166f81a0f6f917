"""A training from Python: the function of `python -m dnas.train`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dnas.api.guard import guarded
from dnas.api.results import Place, RunResult, TrainingResult, opened
from dnas.api.searching import GO_ON, LOST
from dnas.api.spaces import SpaceLike, result_for
from dnas.api.values import plain_arguments, plain_values
from dnas.data.load import Data
from dnas.data.reading import DataIn, Reading
from dnas.errors import InputError
from dnas.process.console import console
from dnas.runs.folder import Claiming

if TYPE_CHECKING:
    from dnas.learning.terms import Term


@plain_arguments
def run_training(
    architecture: SpaceLike | RunResult, *, data: Data | None = None, recipe: str | os.PathLike[str] = "quick",
    init: Literal["inherited", "scratch"] | str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    teacher: SpaceLike | RunResult | None = None, teacher_weights: str | os.PathLike[str] | None = None,
    distill: Literal["soft", "hard", "manifold"] | None = None,
    image_size: int | None = None, new_classes: bool = False, seed: int = 0,
    skip_bad: bool = False, data_in: DataIn = "auto", readers: int | None = None,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False, resume: bool = False, force: bool = False,
    checkpoint_every: float | None = None, quiet: bool = False, terms: Sequence[Term] = (),
    devices: int | None = None, precision: Literal["float32", "bfloat16"] | None = None, **values: Any,
) -> TrainingResult:  # fmt: skip
    """Trains an architecture and keeps its best epoch, as `python -m dnas.train` does.

    Args:
        architecture: a result, with whose weights the training begins, or what `dnas.load` takes.
        data: as in `dnas.run_search`; those of the architecture's own run if not given.
        recipe: name of a recipe (`quick`, `finetune`, `fashion`, `fbnet`, `fbnetv3`, `efficientformer`, `manifold`) or
            path of a file of your own (`docs/training.md`).
        init: begin with the architecture's weights (`inherited`), with random ones (`scratch`), or with those of a
            safetensors file, dnas' own or timm's; inherited where the architecture has some, if not given.
        weights: a safetensors file to inherit from, dnas' own or timm's; that beside the architecture if not given.
        teacher: an architecture with weights whose scores are learnt from as well.
        teacher_weights: its weights; those beside it if not given.
        distill: what is learnt from the teacher: its probabilities, its first guess, or its probabilities and the
            likeness of its patches; as the recipe says if not given.
        image_size: side of the images given to the network, in pixels; that of its weights if not given.
        new_classes: the data have other classes than the architecture's run: the classifier begins anew.
        seed: everything random follows from it.
        skip_bad: leave out images that cannot be read.
        data_in: where image files are kept: decoded in `memory`, or on disk (`stream`); in memory if they fit, if not
            given.
        readers: processes that decode what is streamed: one for each core if not given; 0 for threads.
        out: folder of the result; a temporary one if not given, of which `TrainingResult.save` makes a lasting copy.
        overwrite: replace what `out` holds of another run.
        resume: go on from the newest checkpoint in `out`.
        force: with `resume`, go on although options, data or versions have changed.
        checkpoint_every: seconds between checkpoints; every minute, but never more than 2 % of the time, if not given.
        quiet: print nothing.
        terms: of the loss, beside the recipe's: `dnas.learning.terms.Term`, which may read values inside the network
            and the teacher.
        devices: how many share each batch; all that JAX sees if not given, but one on a CPU.
        precision: in which steps compute; parameters, norms and losses are float32 either way. bfloat16 on
            accelerators and float32 on CPUs if not given.
        **values: fields of the recipe in place of its own, such as `epochs=2`, `lr=0.05`, `batch_size=64`.

    Returns:
        The trained network, its history and its files.

    Raises:
        UserError: anything that the command would say in one line.
        Stopped: after Ctrl-C or SIGTERM.
    """
    place = Place(out)
    with guarded(go_on=GO_ON if place.named else LOST):
        from dnas.train.request import beginning, requested, train

        if teacher is None and teacher_weights is not None:
            raise InputError("teacher_weights", "there is no teacher", found=os.fspath(teacher_weights))
        start, file = beginning(
            None if init is None else os.fspath(init), None if weights is None else Path(weights)
        )  # fmt: skip
        source = result_for(architecture, file)
        data = remembered(architecture, data)
        request = requested(
            source, data=data, recipe=os.fspath(recipe), values=plain_values(values), start=start,
            image_size=image_size, seed=seed, teacher=None if teacher is None else result_for(teacher, teacher_weights),
            new_classes=new_classes, reading=Reading(skip_bad, data_in, readers), distill=distill,
            terms=terms, devices=devices,
            precision=precision,
        )  # fmt: skip
        train(
            request, place.path, console(quiet), Claiming(resume=resume, overwrite=overwrite), force=force,
            checkpoint_seconds=checkpoint_every, commands=False,
        )  # fmt: skip
    return opened(place, data)


def remembered(architecture: Any, data: Data | None) -> Data | None:
    """The data given, else those in memory that the result was run on."""
    return architecture.data if data is None and isinstance(architecture, RunResult) else data
