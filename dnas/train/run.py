"""A training from its folder to its result: claims the folder, trains or goes on, and writes the files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.errors import UserError
from dnas.files import json_lines, write_atomic, write_json
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.learning.checkpoint import Checkpoints
from dnas.learning.driver import kept
from dnas.nn.inherit import inherit
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import Update, progress
from dnas.process.provenance import provenance
from dnas.runs.folder import CHECKPOINTS, PROVENANCE, Claim, Owner, Terms, claimed
from dnas.runs.read import read_run
from dnas.runs.result import ARCHITECTURE, WEIGHTS, read_result
from dnas.train.console import closing, opening
from dnas.train.document import trained_document
from dnas.train.recipe import read_recipe
from dnas.train.setup import Setup
from dnas.train.trainer import Progress, Trainer

HISTORY, RECIPE = "history.jsonl", "recipe.yaml"


def run_training(
    setup: Setup, out: Path, console: Any, terms: Terms, *, force: bool = False,
    checkpoint_seconds: float | None = None, watch: Update = lambda step, line: None, commands: bool = True,
) -> None:  # fmt: skip
    """Trains, keeps the best epoch and writes the result folder, unless it is there and the run was to be continued.

    `watch` is told how many steps are done, and what to say of them, as the console is. With `commands` the console is
    told the files written and the commands that follow, too.

    Raises:
        UserError: another run's folder or one that cannot be written, a checkpoint of another run, a loss that is not
            finite.
        Stopped: asked to leave by a signal; everything is saved.
    """

    def say(line: str) -> None:
        console.print(line, markup=False)

    with claimed(out, Owner("train", setup.identity), terms, say) as claim:
        if claim.finished:
            say(f"{claim.folder}: this training has ended already")
        else:
            trainer = Trainer(setup, claim.folder, console, checkpoint_seconds, commands)
            _trained(trainer, claim, terms.resume, force, watch)


def _trained(trainer: Trainer, claim: Claim, resume: bool, force: bool, watch: Update) -> None:
    began, setup, console = time.monotonic(), trainer.setup, trainer.console
    opening(trainer)
    with asked_to_stop() as asked, Checkpoints(trainer.out / CHECKPOINTS, setup.identity) as checkpoints:
        if resume and checkpoints.latest() is not None:
            p = trainer.restored(checkpoints, force)
            console.print(f"continuing after step {int(p.state.step)} of {trainer.steps}")
        else:
            if resume:
                console.print(f"no checkpoint in {checkpoints.folder}: beginning at the first step")
            checkpoints.clear()
            p = trainer.beginning()
        with progress(console, trainer.steps, "training", int(p.state.step)) as show:

            def tell(step: int, line: str) -> None:
                show(step, line)
                watch(step, line)

            trainer.loop(p, checkpoints, asked, tell)
        counts = trainer.result(p, asked, checkpoints)
        with _kept(trainer, checkpoints, p):
            _write(trainer, p, claim, trained_document(trainer, p, counts), time.monotonic() - began)
    closing(trainer, p, counts)


@contextmanager
def _kept(trainer: Trainer, checkpoints: Checkpoints, p: Progress) -> Iterator[None]:
    """Inside, a result that cannot be written is not lost (`dnas.learning.driver.kept`)."""

    def save() -> None:
        trainer.save(checkpoints, p)
        checkpoints.wait()

    with suppress(UserError):  # the result is better than any checkpoint
        checkpoints.wait()
    with kept(save):
        yield


def _write(trainer: Trainer, p: Progress, claim: Claim, document: dict[str, Any], seconds: float) -> None:
    """The files of the result, read back and put in place as a set."""
    # The file writes repeated blocks out one by one, and its weights go by those names.
    written = architecture(trainer.setup.network, {})
    origin = {
        "architecture_file": trainer.setup.source.space.source, "seconds": round(seconds, 3),
        "checkpoints_s": round(trainer.pace.seconds, 3),
    }  # fmt: skip
    with claim.result(check) as staged:
        weights.save(staged / WEIGHTS, written.network, inherit(trainer.training.packing.unpack(p.best), written))
        write_json(staged / ARCHITECTURE, document)
        write_json(staged / PROCESSOR, processor_beside(document))
        write_atomic(staged / RECIPE, trainer.setup.recipe.to_yaml())
        write_atomic(staged / HISTORY, json_lines(p.history))
        write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_recipe(folder / RECIPE).fixed()
    read_run(folder)
