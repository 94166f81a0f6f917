"""A training as the driver takes it: one phase of steps, after each epoch an evaluation that may find the best one.

Epochs are chosen on the validation share; the test split is read once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dnas.data.batches import Ahead, Batches
from dnas.data.randaugment import rand_augment
from dnas.data.stream.images import taken
from dnas.errors import Diverged
from dnas.learning.course import Metrics, Phase, State
from dnas.learning.evaluator import NotFinite, Tally, batch_size, program, tally
from dnas.nn.wing import wing
from dnas.train.recipe import Recipe
from dnas.train.schedule import schedule
from dnas.train.setup import Setup
from dnas.train.step import PackedVariables, TrainState, no_sums, training

ADVICE = "Try a smaller --lr or a longer warm-up"
"""Where a training diverges."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches with the augmentation that runs on the host; a pure function of the step."""

    batches: Batches
    recipe: Recipe

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [B, H, W, C] and labels [B] of a step, those that are read here."""
        images, labels = self.batches.at(step)
        r, b = self.recipe, self.batches
        if r.rand_augment:
            strength = r.rand_augment, r.rand_magnitude, r.rand_spread, r.rand_probability
            images = rand_augment(images, *strength, b.seed, step, b.rows, b.batch_size)
        return images, labels


class Arrays(NamedTuple):
    """The arrays of the state."""

    train: TrainState
    best: PackedVariables
    """Variables of the best epoch so far."""


class Epochs(NamedTuple):
    """The notes of the state: validation accuracies so far."""

    best_step: int = 0
    best: float = -1.0
    last: float | None = None
    began: float | None = None
    """Of inherited weights before the first step."""
    later: float | None = None
    """The best after an epoch."""

    def after(self, step: int, accuracy: float, keeps_last: bool = False) -> Epochs:
        """With one more evaluation; with `keeps_last` it counts as the best whatever it is."""
        now = self._replace(last=accuracy, later=max(accuracy, self.later or 0.0))
        return now._replace(best_step=step, best=accuracy) if accuracy > self.best or keeps_last else now


class Trainer:
    """One training (`dnas.learning.course.Course`): static facts and compiled programs."""

    def __init__(self, setup: Setup):
        s, recipe = setup, setup.recipe
        self.setup, self.steps = setup, setup.taken
        rate = schedule(recipe, s.steps, s.per_epoch)
        self.training = training(s.network, s.preprocessing, recipe, rate, s.teacher, s.terms, s.devices, s.precision)
        data, own = s.dataset, s.devices.own_rows(recipe.batch_size)
        batches = Batches(data.train_images, data.train_labels, s.train_index, recipe.batch_size, s.seed, own)
        self.batches = Ahead(Stream(batches, recipe), s.taken)

        def end() -> None:
            self.batches.close()
            batches.rest()

        self.phases = (
            Phase("train", s.taken, self._step, self._begin, rows_every=s.per_epoch, review=self._evaluate, end=end),
        )  # fmt: skip
        self._key = jax.random.key(s.seed)  # lies on no device yet, so every program takes it
        self._taught = None if s.teacher is None else s.devices.state(s.teacher.variables)
        self._program, self._compiled = s.devices.program(self.training.step, donate=0), False
        self._answer = program(s.network, s.preprocessing, self.training.packing.unpack, s.devices)

    def start(self) -> State:
        """The state before the first step."""
        train = self.training.init(self.setup.variables)
        arrays = Arrays(train, jax.tree.map(jnp.copy, train.variables))
        return State(self.setup.devices.state(arrays), Epochs()._asdict())

    def observe(self, state: State) -> dict[str, Any]:
        """The last validation accuracy."""
        last = Epochs(**state.notes).last
        return {} if last is None else {"validation_accuracy": last}

    def count_right(self, variables: PackedVariables, split: str) -> Tally:
        """Counts over the test images, or over the validation share of the training images."""
        data, side = self.setup.dataset, self.setup.network.resolution.value
        images, labels = data.test_images, data.test_labels
        if split == "validation":
            chosen = self.setup.validation_index
            images, labels = taken(data.train_images, chosen), data.train_labels[chosen]
        return tally(
            self._answer, variables, images, labels, data.classes, batch_size(side), devices=self.setup.devices
        )  # fmt: skip

    def _begin(self, state: State) -> State:
        """Epoch 0: inherited weights may be better than whatever training makes of them."""
        if self.setup.start != "inherited":
            return state
        found = self.count_right(state.arrays.train.variables, "validation").accuracy
        return state._replace(notes=Epochs(best=found, last=found, began=found)._asdict())

    def _step(self, state: State, n: int) -> tuple[State, Metrics]:
        batch = self.setup.devices.batch_of_rows(self.batches.at(n), self.setup.recipe.batch_size)
        train, metrics = self._program(state.arrays.train, batch, self._key, self._taught)
        if not self._compiled:
            wing(self.setup.devices).close_holes()  # the first step has compiled its program
            self._compiled = True
        return state._replace(arrays=state.arrays._replace(train=train)), {"loss": metrics["loss"]}

    def _evaluate(self, state: State, step: int) -> tuple[State, Metrics]:
        """Validation of the averaged weights (of the last, without averaging); keeps the best."""
        train, best = state.arrays
        variables = train.averaged or train.variables
        try:
            accuracy = self.count_right(variables, "validation").accuracy
        except NotFinite as error:  # the last step of an epoch has spoilt the weights: its loss was still a number
            raise Diverged(f"the run diverged at step {step}: {error}; nothing is exported. {ADVICE}") from error
        epochs = Epochs(**state.notes).after(step, accuracy, self.setup.keeps_last)
        if epochs.best_step == step:
            best = jax.tree.map(jnp.copy, variables)  # the state is donated to the next step
        sums = jax.device_get(train.sums)
        seen = max(1, int(sums.images))
        row: Metrics = {
            "epoch": round(step / self.setup.per_epoch, 4),
            "loss": round(float(sums.loss) / seen, 6),
            "train_accuracy": round(int(sums.right) / seen, 6),
            "validation_accuracy": round(accuracy, 6),
            "lr": float(self.training.rate(jnp.asarray(step - 1))),
        }
        if len(sums.terms) > 1:
            row["terms"] = {name: round(float(value) / seen, 6) for name, value in sums.terms.items()}
        train = train._replace(sums=self.setup.devices.state(no_sums(sums.terms)))
        return State(Arrays(train, best), epochs._asdict()), row
