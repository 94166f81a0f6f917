"""The loop of a training: steps, evaluations and checkpoints, from its beginning or from where it was left.

Epochs are chosen on the validation share; the test split is read once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.data.batches import Batches, prefetch
from dnas.data.randaugment import rand_augment
from dnas.errors import Stopped, UserError
from dnas.files import json_lines, write_atomic
from dnas.learning.checkpoint import Checkpoints, Pace
from dnas.learning.evaluation import Tally, batch_size, program, tally
from dnas.nn.wing import wing
from dnas.process.progress import Update
from dnas.runs.folder import PARTIAL
from dnas.space import units
from dnas.train.recipe import Recipe
from dnas.train.schedule import schedule
from dnas.train.setup import Setup
from dnas.train.step import PackedVariables, TrainState, no_sums, training

UPDATES = 100
"""How often the loss is read and shown; reading waits for the device."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches with the augmentation that runs on the host; a pure function of the step."""

    batches: Batches
    recipe: Recipe

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [B, H, W, C] and labels [B] of a step."""
        images, labels = self.batches.at(step)
        r = self.recipe
        if r.rand_augment:
            images = rand_augment(
                images, r.rand_augment, r.rand_magnitude, r.rand_spread, r.rand_probability, self.batches.seed, step
            )
        return images, labels


@dataclass
class Progress:
    """Where a training stands: what a checkpoint holds."""

    state: TrainState
    best: PackedVariables
    """Variables of the best epoch so far."""
    evaluated: int
    """Step of the last evaluation."""
    best_step: int
    best_accuracy: float
    history: list[dict[str, Any]]
    began: float | None = None
    """Validation accuracy of inherited weights before the first step."""

    @property
    def arrays(self) -> dict[str, Any]:
        """The pytree of a checkpoint."""
        return {"state": self.state, "best": self.best}

    @property
    def later(self) -> float | None:
        """The best validation accuracy after an epoch."""
        return max((row["validation_accuracy"] for row in self.history), default=None)

    @property
    def notes(self) -> dict[str, Any]:
        """The JSON values of a checkpoint."""
        names = ("evaluated", "best_step", "best_accuracy", "history", "began")
        return {name: getattr(self, name) for name in names}


class _AskedToStop(Exception):
    """Raised inside an evaluation."""


class Trainer:
    """One training: static facts, compiled programs, and the loop."""

    def __init__(
        self, setup: Setup, out: Path, console: Any, checkpoint_seconds: float | None, commands: bool = True
    ):  # fmt: skip
        self.setup, self.out, self.console, self.pace = setup, out, console, Pace(checkpoint_seconds)
        self.commands = commands
        s, recipe = setup, setup.recipe
        self.per_epoch, self.steps = s.per_epoch, s.steps
        self.training = training(
            s.network, s.preprocessing, recipe, schedule(recipe, self.steps, self.per_epoch), s.teacher, s.terms
        )
        self.stream = Stream(
            Batches(s.dataset.train_images, s.dataset.train_labels, s.train_index, recipe.batch_size, s.seed), recipe
        )
        self.taught = None if s.teacher is None else s.teacher.variables
        self.step = jax.jit(self.training.step, donate_argnums=0)
        self.answer = program(s.network, s.preprocessing, self.training.packing.unpack)

    def beginning(self) -> Progress:
        """Where a training stands before its first step."""
        state = self.training.init(self.setup.variables)
        return Progress(state, jax.tree.map(jnp.copy, state.variables), 0, 0, -1.0, [])

    def restored(self, checkpoints: Checkpoints, force: bool) -> Progress:
        """Where the newest checkpoint stands; raises `InputError` for one of another training."""
        saved = checkpoints.restore(self.beginning().arrays, force=force)
        return Progress(**saved.state, **saved.notes)

    def save(self, checkpoints: Checkpoints, p: Progress) -> None:
        """Begins a checkpoint."""
        with self.pace.saving():
            checkpoints.save(int(p.state.step), p.arrays, p.notes)

    def loop(self, p: Progress, checkpoints: Checkpoints, asked: Callable[[], int], show: Update) -> None:
        """Steps and evaluations to the end; leaves with `Stopped` where asked to."""
        key = jax.random.key(self.setup.seed)
        behind = step = int(p.state.step)
        every = max(1, self.steps // UPDATES)
        stream = prefetch(self.stream, step, self.steps)
        try:
            if step == 0 and p.began is None and self.setup.start == "inherited":
                show(step, "evaluating the inherited weights")
                self._before(p, asked)
            show(step, "compiling the step")
            while True:
                if self._due(step) and p.evaluated < step:
                    self._evaluate(p, asked, step, show)
                if step > behind and self.pace.due():
                    self.save(checkpoints, p)
                if step == self.steps:
                    return
                p.state, metrics = self.step(p.state, next(stream), key, self.taught)
                if step == behind:
                    wing().close_holes()  # the first step has compiled its program
                step += 1
                if step % every == 0:
                    show(step, self._line(p, _finite(float(metrics["loss"]), step)))
                if asked():
                    raise _AskedToStop
        except _AskedToStop:
            self.leave(p, checkpoints, asked())
        finally:
            stream.close()

    def leave(self, p: Progress, checkpoints: Checkpoints, number: int) -> None:
        """Saves and raises `Stopped`."""
        self.save(checkpoints, p)
        checkpoints.wait()
        raise Stopped(
            f"stopped after step {int(p.state.step)} of {self.steps}; continue with the same command and --resume",
            number,
        )

    def count_right(self, variables: PackedVariables, split: str, asked: Callable[[], int]) -> Tally:
        """Counts over the test images, or over the validation share of the training images."""
        data, side = self.setup.dataset, self.setup.network.resolution.value
        images, labels = data.test_images, data.test_labels
        if split == "validation":
            images, labels = (a[self.setup.validation_index] for a in (data.train_images, data.train_labels))

        def check(_: int) -> None:
            if asked():
                raise _AskedToStop

        return tally(self.answer, variables, images, labels, data.classes, batch_size(side), check)

    def result(self, p: Progress, asked: Callable[[], int], checkpoints: Checkpoints) -> Tally:
        """Counts of the best variables on the test split."""
        try:
            return self.count_right(p.best, "test", asked)
        except _AskedToStop:
            self.leave(p, checkpoints, asked())
            raise

    def _due(self, step: int) -> bool:
        return step > 0 and (step % self.per_epoch == 0 or step == self.steps)

    def _before(self, p: Progress, asked: Callable[[], int]) -> None:
        """Epoch 0: inherited weights may be better than whatever training makes of them."""
        p.began = p.best_accuracy = self.count_right(p.state.variables, "validation", asked).accuracy

    def _evaluate(self, p: Progress, asked: Callable[[], int], step: int, show: Update) -> None:
        """Validation of the averaged weights (of the last, without averaging); keeps the best."""
        variables = p.state.averaged or p.state.variables
        counts = self.count_right(variables, "validation", asked)
        sums = jax.device_get(p.state.sums)
        seen = max(1, int(sums.images))
        line = {
            "step": step,
            "epoch": round(step / self.per_epoch, 4),
            "loss": round(_finite(float(sums.loss) / seen, step), 6),
            "train_accuracy": round(int(sums.right) / seen, 6),
            "validation_accuracy": round(counts.accuracy, 6),
            "lr": round(float(self.training.rate(jnp.asarray(step - 1))), 9),
        }
        if len(sums.terms) > 1:
            line["terms"] = {name: round(float(value) / seen, 6) for name, value in sums.terms.items()}
        p.history.append(line)
        p.evaluated = step
        if counts.accuracy > p.best_accuracy:
            p.best_step, p.best_accuracy = step, counts.accuracy
            p.best = jax.tree.map(jnp.copy, variables)  # the state is donated to the next step
        p.state = p.state._replace(sums=no_sums(sums.terms))
        write_atomic(self.out / PARTIAL, json_lines(p.history))
        show(step, self._line(p, line["loss"]))

    def _line(self, p: Progress, loss: float) -> str:
        known = p.history[-1]["validation_accuracy"] if p.history else p.began
        shown = "" if known is None else f"  val {units.accuracy(known, len(self.setup.validation_index))}"
        return f"loss {loss:.3f}{shown}"


def _finite(value: float, step: int) -> float:
    if not np.isfinite(value):
        raise UserError(
            f"the training diverged at step {step}: the loss is not finite; the former checkpoints stay. "
            "Try a smaller --lr or a longer warm-up"
        )
    return value
