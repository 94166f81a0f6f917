"""What a training prints before its first step and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape

from dnas.data.batches import repeats
from dnas.data.hugging_face import PROCESSOR
from dnas.data.names import counted
from dnas.learning.evaluator import Tally
from dnas.runs.folder import PROVENANCE
from dnas.runs.following import lines
from dnas.runs.history import HISTORY
from dnas.runs.result import ARCHITECTURE, WEIGHTS
from dnas.space import units
from dnas.train import verdict
from dnas.train.setup import Setup
from dnas.train.trainer import Epochs


def opening(s: Setup, console: Any) -> None:
    """The network, the data and the recipe."""
    recipe = s.recipe
    network = s.network
    side = network.resolution.value
    console.print(
        f"[bold]{escape(network.name)}[/] at {side}x{side}x{network.channels}, {network.classes} classes, "
        f"{'inherited' if s.start == 'inherited' else 'fresh'} weights; on {escape(s.devices.told())}"
    )
    console.print(
        f"data: {s.dataset.name}, {len(s.train_index)} images to train, {len(s.validation_index)} to choose the epoch, "
        f"{len(s.dataset.test_labels)} for test",
        markup=False,
    )
    numbers = [] if s.precision == "float32" else [f"steps compute in {s.precision}, evaluations in float32"]
    of_batch = *repeats(len(s.train_index), recipe.batch_size), *s.devices.note(recipe.batch_size)
    for note in (*numbers, *s.source.notes, *_resized(s), *of_batch, *s.dataset.notes):
        console.print(f"  {note}", markup=False)
    console.print(
        f"recipe: {recipe.name}, {recipe.optimizer} with a learning rate of {recipe.peak_lr:g} for batches of "
        f"{recipe.batch_size}, {s.taken} steps" + ("" if s.teacher is None else f"; taught by {s.teacher_name}"),
        markup=False,
    )


def _resized(s: Setup) -> list[str]:
    if not s.resized:
        return []
    before, side = s.source.network.resolution.value, s.network.resolution.value
    return [f"{counted(len(s.resized), 'table')} of positions resized from images of {before} px to {side} px"]


def closing(s: Setup, epochs: Epochs, counts: Tally, out: Any, folder: Path | None) -> None:
    """Accuracies and warnings; of a `folder` that the user knows, its files, and which commands come next."""
    five = f", top-5 {counts.top5 / counts.images:.2%}" if s.dataset.classes > 5 else ""
    validation = units.accuracy(epochs.best, len(s.validation_index))
    out.print(
        f"best after epoch {epochs.best_step / s.per_epoch:g}: validation {validation}; "
        f"[bold]test top-1 {counts.accuracy:.2%}{five}[/] on {counts.images:,} images"
    )
    for line in verdict.apart(s):
        out.print(line, soft_wrap=True, markup=False)
    for line in verdict.warnings(s, counts, epochs.began, epochs.later):
        out.print("[yellow]warning[/]:", escape(line), soft_wrap=True)
    last, following = [verdict.good(s, counts, epochs.began, epochs.best)], []
    if folder is not None:
        written = f"{ARCHITECTURE}, {WEIGHTS}, {PROCESSOR}, recipe.yaml, {HISTORY}, {PROVENANCE}"
        last = [f"written to {folder}: {written}", *last]
        following = lines(verdict.following_commands(folder))
    for line in (*last, *following):
        out.print(line, markup=False, soft_wrap=True)
