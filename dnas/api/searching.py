"""A search from Python: the function of `python -m dnas.search`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnas.api.guard import guarded
from dnas.api.results import JointResult, Place, SearchResult, opened
from dnas.api.spaces import SpaceLike, load
from dnas.api.values import plain_arguments, plain_values, texts
from dnas.data.load import Data
from dnas.data.reading import DataIn, Reading
from dnas.search import strategies
from dnas.search.request import requested, search

if TYPE_CHECKING:
    from dnas.learning.terms import Term

GO_ON = "the same call with resume=True goes on"
LOST = "nothing of it is kept, as no folder was named (out)"


@plain_arguments
def run_search(
    space: SpaceLike, *, data: Data | None = None, budgets: str | Sequence[str] = (),
    family: str | Sequence[str] | None = None, strategy: str | None = None, start: SpaceLike | None = None,
    preset: str = "quick", seed: int = 0, image_size: int | None = None, classes: int | None = None,
    skip_bad: bool = False, data_in: DataIn = "auto", readers: int | None = None,
    max_memory: str | None = None, out: str | os.PathLike[str] | None = None,
    overwrite: bool = False, resume: bool = False, force: bool = False, checkpoint_every: float | None = None,
    profile: str | os.PathLike[str] | None = None, tensorboard: bool = False, quiet: bool = False,
    terms: Sequence[Term] = (), devices: int | None = None, **settings: Any,
) -> SearchResult | JointResult:  # fmt: skip
    """Searches a space for the best network within every budget, as `python -m dnas.search` does.

    Args:
        space: what `dnas.load` takes; one with choices.
        data: by path, a folder of images, an `.npz` file, or a folder of IDX files, of shards or of Hugging Face's
            datasets (`docs/data.md`); `(images, labels)`; or a dict of arrays such as `x_train`, `y_train`, `x_test`,
            `y_test`, `class_names`. Images are [N, S, S] or [N, S, S, C], uint8 or floats in [0, 1]; labels [N] are
            integers from 0. A Fashion-MNIST extract if not given.
        budgets: upper limits that the result keeps: `200MFLOPs` (multiply-adds), `5Mparams`, `12ms@TABLE`.
        family: with `dmasking`, `slimming` or `sandwich`, budgets of one kind, each of which gets a network from the
            one run; those of `dmasking` are `SearchResult.members`. Also with `joint`, whose `record` has them.
        strategy: `dmasking`, `slimming`, `sandwich`, `random`, `evolution`, `space_evolution` or `joint`; the one that
            the space names otherwise. `joint` trains networks one by one, in processes of their own, while this
            one predicts accuracies with JAX: docs/joint.md says how they share a GPU, and that they cannot share a TPU.
        start: an architecture to begin at, scaled into the budgets (with `dmasking`).
        preset: `smoke` (does everything run), `quick` or `paper`.
        seed: everything random follows from it.
        image_size: side of the images given to the supernet, in pixels; if not given their own, at most 64 (preset
            `paper`: the space's own).
        classes: number of classes that the budgets count; the space's own if not given.
        skip_bad: leave out images that cannot be read.
        data_in: where image files are kept: decoded in `memory`, or on disk (`stream`); in memory if they fit, if not
            given.
        readers: processes that decode what is streamed: one for each core if not given; 0 for threads.
        max_memory: most memory of arrays and programs, such as `4GB`; the search adapts and says so.
        out: folder of the result; a temporary one if not given, of which `SearchResult.save` makes a lasting copy.
        overwrite: replace what `out` holds of another run.
        resume: go on from the newest checkpoint in `out`.
        force: with `resume`, go on although options, data or versions have changed.
        checkpoint_every: seconds between checkpoints; every minute, but never more than 2 % of the time, if not given.
        profile: folder for a trace of a few steps.
        tensorboard: also write TensorBoard event files into `out`.
        quiet: print nothing.
        terms: of the loss, beside cross-entropy: `dnas.learning.terms.Term`, which may read the gates and values inside
            the supernet.
        devices: how many share each batch; all that JAX sees if not given, but one on a CPU.
        **settings: fields of `dnas.search.settings.Settings` in place of the preset's, such as `epochs=2`. With
            `joint`: `trainings`, `rounds`, `winners`, `recipe`, `epochs`, `batch_size`, `fill`, `workers`, `fanout`,
            as the command's options of these names; a search that was stopped goes on by the same call.

    Returns:
        The network found, its history and its files; with `joint` a `JointResult`, which has the recipe, too.

    Raises:
        UserError: anything that the command would say in one line: a value that is not accepted, data that cannot be
            read, budgets out of reach, too little memory, a search that diverges.
        Stopped: after Ctrl-C or SIGTERM.
    """
    place = Place(out)
    with guarded(go_on=GO_ON if place.named else LOST):
        loaded, limits = load(space, classes=classes), texts("budgets", budgets)
        members = None if family is None else ",".join(texts("family", family))
        if (strategy or strategies.of(loaded)) == strategies.JOINT:
            from dnas.api.joint import searched_jointly

            others = {
                "start": (start, None), "preset": (preset, "quick"), "max_memory": (max_memory, None),
                "force": (force, False), "checkpoint_every": (checkpoint_every, None), "profile": (profile, None),
                "tensorboard": (tensorboard, False), "terms": (tuple(terms), ()), "devices": (devices, None),
            }  # fmt: skip
            return searched_jointly(
                loaded, place, data=data, budgets=limits, family=members, seed=seed, image_size=image_size,
                reading=Reading(skip_bad, data_in, readers), overwrite=overwrite, quiet=quiet,
                others=others, settings=plain_values(settings),
            )  # fmt: skip
        size = {} if image_size is None else {"side": image_size}
        request = requested(
            loaded, data=data, budgets=limits, family=members, strategy=strategy,
            start=None if start is None else load(start), preset=preset, seed=seed,
            reading=Reading(skip_bad, data_in, readers),
            max_memory=max_memory, settings=plain_values(settings | size), terms=terms, devices=devices,
        )  # fmt: skip
        from dnas.search.console import Console
        from dnas.search.run import Options

        options = Options(
            preset, resume, force, checkpoint_every, None if profile is None else Path(profile), tensorboard, overwrite
        )
        search(request, place.path, Console(quiet, commands=False), options)
    return opened(place, data)
