"""A training from its folder to its result: claims the folder, trains or goes on, and writes the files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.data.waiting import Share
from dnas.files import write_atomic, write_json
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.learning.course import State
from dnas.learning.driver import Show, Watch, advance, concluded, kept
from dnas.learning.evaluator import Tally
from dnas.learning.journal import HISTORY, Journal
from dnas.nn.inherit import inherit
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import Update, progress
from dnas.process.provenance import provenance
from dnas.runs.folder import PROVENANCE, Claim, Claiming, Owner, claimed_by_first
from dnas.runs.hosts import check_same
from dnas.runs.read import read_run
from dnas.runs.result import ARCHITECTURE, WEIGHTS, read_result
from dnas.space import units
from dnas.train.console import closing, opening
from dnas.train.document import trained_document
from dnas.train.recipe import read_recipe
from dnas.train.setup import Setup
from dnas.train.trainer import ADVICE, Epochs, Trainer

RECIPE = "recipe.yaml"
DIGITS = 9
"""Of learning rates, which become small."""


def run_training(
    setup: Setup, out: Path, console: Any, claiming: Claiming, *, force: bool = False,
    checkpoint_seconds: float | None = None, watch: Update = lambda step, line: None, commands: bool = True,
) -> None:  # fmt: skip
    """Trains, keeps the best epoch and writes the result folder, unless it is there and the run was to be continued.

    `watch` is told how many steps are done, and what to say of them, as the console is. With `commands` the console is
    told the files written and the commands that follow, too.

    Raises:
        UserError: another run's folder or one that cannot be written, a checkpoint of another run, a loss that is not
            finite, hosts that were not given the same.
        Stopped: asked to leave by a signal; everything is saved.
    """

    def say(line: str) -> None:
        console.print(line, markup=False)

    check_same(setup.identity | {"preprocessing": setup.preprocessing.to_json()})
    with claimed_by_first(out, Owner("train", setup.identity), claiming, say) as (claim, ended):
        folder = claim and claim.folder
        if ended:
            return say(f"{folder}: this training has ended already")
        opening(setup, console)
        shown = partial(_shown, setup, console, watch)
        with Journal(folder, setup.identity, checkpoint_seconds, advice=ADVICE, digits=DIGITS) as journal:
            epochs, counts = _trained(Trainer(setup), claim, journal, Watch(shown, say), claiming.resume, force)
        closing(setup, epochs, counts, console, folder if commands else None)


def _trained(
    trainer: Trainer, claim: Claim | None, journal: Journal, watch: Watch, resume: bool, force: bool
) -> tuple[Epochs, Tally]:  # fmt: skip
    """Trains, and writes what the best epoch is worth on the test images."""
    began, share, setup = time.monotonic(), Share(), trainer.setup
    with asked_to_stop() as asked:
        state = advance(trainer, journal, watch, setup.recipe.batch_size, resume=resume, force=force, asked=asked)
        counts = concluded(lambda: trainer.count_right(state.arrays.best, "test"), journal, state, asked)
        with kept(lambda: journal.save(state, journal.taken, {}, now=True)):
            if claim is not None:
                _write(trainer, state, claim, counts, journal, time.monotonic() - began, share)
    return Epochs(**state.notes), counts


@contextmanager
def _shown(setup: Setup, console: Any, watch: Update, steps: int, done: int) -> Iterator[Show]:
    """Shows steps and their rows as they are made; `done` steps were made by a former run."""
    share = Share()
    with progress(console, steps, "training", done) as update:

        def say(step: int, line: str) -> None:
            update(step, line)
            watch(step, line)

        def show(step: int, row: dict[str, Any]) -> None:
            known = row.get("validation_accuracy")
            shown = "" if known is None else f"  val {units.accuracy(known, len(setup.validation_index))}"
            say(step, "  ".join([f"loss {row['loss']:.3f}{shown}", *setup.dataset.shown_input(share)]))

        first = "evaluating the inherited weights, " * (setup.start == "inherited" and not done)
        say(done, f"{first}compiling the step")
        yield show


def _write(
    trainer: Trainer, state: State, claim: Claim, counts: Tally, journal: Journal, seconds: float, share: Share
) -> None:  # fmt: skip
    """The files of the result, read back and put in place as a set."""
    setup = trainer.setup
    # The file writes repeated blocks out one by one, and its weights go by those names.
    written = architecture(setup.network, {})
    origin = {
        "architecture_file": setup.source.space.source, "seconds": round(seconds, 3),
        "checkpoints_s": round(journal.pace.seconds, 3), "input_s": round(share.seconds, 3),
        "devices_used": setup.devices.count,
    }  # fmt: skip
    journal.end()
    with claim.result(check) as staged:
        document = trained_document(setup, Epochs(**state.notes), counts)
        best = trainer.training.packing.unpack(state.arrays.best)
        weights.save(staged / WEIGHTS, written.network, inherit(best, written))
        write_json(staged / ARCHITECTURE, document)
        write_json(staged / PROCESSOR, processor_beside(document))
        write_atomic(staged / RECIPE, setup.recipe.to_yaml())
        write_atomic(staged / HISTORY, journal.history())
        write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_recipe(folder / RECIPE).fixed()
    read_run(folder)
