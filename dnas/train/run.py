"""The driver of a training: batches, compiled programs, checkpoints, progress and the files of the result.

The only place of the training that reads clocks or writes files. Epochs are chosen on the validation share; the test
split is read once, at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.markup import escape

from dnas.cost.count import count
from dnas.data.batches import Batches, prefetch, repeats
from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.data.randaugment import rand_augment
from dnas.errors import Stopped, UserError
from dnas.files import write_atomic, write_json
from dnas.graph.architecture import architecture
from dnas.heap import close_holes
from dnas.learning import weights
from dnas.learning.checkpoint import Checkpoints, Pace
from dnas.learning.evaluation import Tally, batch_size, program, tally
from dnas.nn.inherit import inherit
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import Update, progress
from dnas.process.provenance import provenance
from dnas.runs.folder import CHECKPOINTS, PARTIAL, PROVENANCE, Claim, Terms, claimed
from dnas.runs.folder import Run as Whose
from dnas.runs.following import lines
from dnas.runs.read import read_run
from dnas.runs.recall import data_record
from dnas.runs.result import ARCHITECTURE, WEIGHTS, read_result
from dnas.space import units
from dnas.train import verdict
from dnas.train.recipe import Recipe, read_recipe
from dnas.train.schedule import schedule
from dnas.train.setup import Setup
from dnas.train.step import PackedVariables, TrainState, no_sums, training

HISTORY, RECIPE = "history.jsonl", "recipe.yaml"
UPDATES = 100
"""How often the loss is read and shown; reading waits for the device."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches with the augmentation that runs on the host; a pure function of the step."""

    batches: Batches
    recipe: Recipe

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
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
        return {"state": self.state, "best": self.best}

    @property
    def notes(self) -> dict[str, Any]:
        names = ("evaluated", "best_step", "best_accuracy", "history", "began")
        return {name: getattr(self, name) for name in names}


class _AskedToStop(Exception):
    """Raised inside an evaluation."""


class Run:
    """One training: static facts, compiled programs, and the loop."""

    def __init__(
        self, setup: Setup, out: Path, console: Any, checkpoint_seconds: float | None, commands: bool = True
    ):  # fmt: skip
        self.setup, self.out, self.console, self.pace = setup, out, console, Pace(checkpoint_seconds)
        self.commands = commands
        s, recipe = setup, setup.recipe
        self.per_epoch, self.steps = s.per_epoch, s.steps
        self.training = training(
            s.network, s.preprocessing, recipe, schedule(recipe, self.steps, self.per_epoch), s.teacher
        )
        self.stream = Stream(
            Batches(s.dataset.train_images, s.dataset.train_labels, s.train_index, recipe.batch_size, s.seed), recipe
        )
        self.taught = None if s.teacher is None else s.teacher.variables
        self.step = jax.jit(self.training.step, donate_argnums=0)
        self.answer = program(s.network, s.preprocessing, self.training.packing.unpack)

    def beginning(self) -> Progress:
        state = self.training.init(self.setup.variables)
        return Progress(state, jax.tree.map(jnp.copy, state.variables), 0, 0, -1.0, [])

    def restored(self, checkpoints: Checkpoints, force: bool) -> Progress:
        saved = checkpoints.restore(self.beginning().arrays, force=force)
        return Progress(**saved.state, **saved.notes)

    def save(self, checkpoints: Checkpoints, p: Progress) -> None:
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
                    close_holes()  # the first step has compiled its program
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
        p.history.append(line)
        p.evaluated = step
        if counts.accuracy > p.best_accuracy:
            p.best_step, p.best_accuracy = step, counts.accuracy
            p.best = jax.tree.map(jnp.copy, variables)  # the state is donated to the next step
        p.state = p.state._replace(sums=no_sums())
        write_atomic(self.out / PARTIAL, _json_lines(p.history))
        show(step, self._line(p, line["loss"]))

    def _line(self, p: Progress, loss: float) -> str:
        known = p.history[-1]["validation_accuracy"] if p.history else p.began
        shown = "" if known is None else f"  val {units.accuracy(known, len(self.setup.validation_index))}"
        return f"loss {loss:.3f}{shown}"


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

    with claimed(out, Whose("train", setup.identity), terms, say) as claim:
        if claim.finished:
            say(f"{claim.folder}: this training has ended already")
        else:
            run = Run(setup, claim.folder, console, checkpoint_seconds, commands)
            _trained(run, claim, terms.resume, force, watch)


def _trained(run: Run, claim: Claim, resume: bool, force: bool, watch: Update) -> None:
    began, setup, console = time.monotonic(), run.setup, run.console
    _opening(run)
    with asked_to_stop() as asked, Checkpoints(run.out / CHECKPOINTS, setup.identity) as checkpoints:
        if resume and checkpoints.latest() is not None:
            p = run.restored(checkpoints, force)
            console.print(f"continuing after step {int(p.state.step)} of {run.steps}")
        else:
            if resume:
                console.print(f"no checkpoint in {checkpoints.folder}: beginning at the first step")
            checkpoints.clear()
            p = run.beginning()
        with progress(console, run.steps, "training", int(p.state.step)) as show:

            def tell(step: int, line: str) -> None:
                show(step, line)
                watch(step, line)

            run.loop(p, checkpoints, asked, tell)
        counts = run.result(p, asked, checkpoints)
        with _kept(run, checkpoints, p):
            _write(run, p, claim, _document(run, p, counts), time.monotonic() - began)
    _closing(run, p, counts)


def _opening(run: Run) -> None:
    s, recipe = run.setup, run.setup.recipe
    device = jax.devices()[0]
    network = s.network
    side = network.resolution.value
    run.console.print(
        f"[bold]{network.name}[/] at {side}x{side}x{network.channels}, {network.classes} classes, "
        f"{'inherited' if s.start == 'inherited' else 'fresh'} weights; on {device.platform} ({device.device_kind})"
    )
    run.console.print(
        f"data: {s.dataset.name}, {len(s.train_index)} images to train, {len(s.validation_index)} to choose the epoch, "
        f"{len(s.dataset.test_labels)} for test"
    )
    for note in (*repeats(len(s.train_index), recipe.batch_size), *s.dataset.notes):
        run.console.print(f"  {note}", markup=False)
    run.console.print(
        f"recipe: {recipe.name}, {recipe.optimizer} with a learning rate of {recipe.peak_lr:g} for batches of "
        f"{recipe.batch_size}, {run.steps} steps" + ("" if s.teacher is None else f"; taught by {s.teacher_name}")
    )


def _closing(run: Run, p: Progress, counts: Tally) -> None:
    s, out = run.setup, run.console
    five = f", top-5 {counts.top5 / counts.images:.2%}" if s.dataset.classes > 5 else ""
    validation = units.accuracy(p.best_accuracy, len(s.validation_index))
    out.print(
        f"best after epoch {p.best_step / run.per_epoch:g}: validation {validation}; "
        f"[bold]test top-1 {counts.accuracy:.2%}{five}[/] on {counts.images:,} images"
    )
    for line in verdict.apart(s):
        out.print(line, soft_wrap=True)
    for line in verdict.warnings(s, counts, p.began, _later(p)):
        out.print("[yellow]warning[/]:", escape(line), soft_wrap=True)
    last, following = [verdict.good(s, counts, p.began, p.best_accuracy)], []
    if run.commands:
        written = f"{ARCHITECTURE}, {WEIGHTS}, recipe.yaml, history.jsonl, provenance.json"
        last, following = [f"written to {run.out}: {written}", *last], lines(verdict.following_commands(run.out))
    for line in (*last, *following):
        out.print(line, markup=False, soft_wrap=True)


def _later(p: Progress) -> float | None:
    """The best validation accuracy after an epoch."""
    return max((row["validation_accuracy"] for row in p.history), default=None)


def _document(run: Run, p: Progress, counts: Tally) -> dict[str, Any]:
    """The architecture as trained: its own input, costs, preprocessing, accuracies.

    Holds no clock and no host, and no path but that of the data.
    """
    s = run.setup
    counted = count(s.network)
    found = (s.source.space.extra or {}).get("search")
    kept = ("space", "strategy", "seed", "budgets", "inherited_accuracy", "blocks")
    return {
        **architecture(s.network, {}).data,
        "costs": {name: counted[name] for name in ("macs", "params", "input", "convention")},
        "preprocessing": s.preprocessing.to_json(),
        "labels": list(s.dataset.class_names),
        "training": {
            "recipe": s.recipe.to_json(),
            "start": s.start,
            **({"classifier": "begun anew"} if s.new_classifier else {}),
            "seed": s.seed,
            "steps": run.steps,
            "data": data_record(s.dataset, s.source.data_seed(s.seed)),
            "images": {"train": len(s.train_index), "validation": len(s.validation_index), "test": counts.images},
            "teacher": s.teacher_name,
            "best_epoch": round(p.best_step / run.per_epoch, 4),
            "chance": round(verdict.level(s), 6),
            "warnings": verdict.warnings(s, counts, p.began, _later(p)),
            "accuracy": {
                **({} if p.began is None else {"validation_before": round(p.began, 6)}),
                "validation": round(p.best_accuracy, 6),
                "test": round(counts.accuracy, 6),
                "test_top5": round(counts.top5 / counts.images, 6) if s.dataset.classes > 5 else None,
            },
            **({"found": {key: found[key] for key in kept if key in found}} if isinstance(found, dict) else {}),
        },
    }  # fmt: skip


@contextmanager
def _kept(run: Run, checkpoints: Checkpoints, p: Progress) -> Iterator[None]:
    """Inside, a result that cannot be written is not lost: as long as there is room for it, a checkpoint stays."""
    with suppress(UserError):  # the result is better than any checkpoint
        checkpoints.wait()
    try:
        yield
    except UserError as error:
        try:
            run.save(checkpoints, p)
            checkpoints.wait()
        except UserError:
            raise error from None
        raise UserError(f"{error}; the same command with --resume tries again") from error


def _write(run: Run, p: Progress, claim: Claim, document: dict[str, Any], seconds: float) -> None:
    """The files of the result, read back and put in place as a set."""
    # The file writes repeated blocks out one by one, and its weights go by those names.
    written = architecture(run.setup.network, {})
    origin = {
        "architecture_file": run.setup.source.space.source, "seconds": round(seconds, 3),
        "checkpoints_s": round(run.pace.seconds, 3),
    }  # fmt: skip
    with claim.result(check) as staged:
        weights.save(staged / WEIGHTS, written.network, inherit(run.training.packing.unpack(p.best), written))
        write_json(staged / ARCHITECTURE, document)
        write_json(staged / PROCESSOR, processor_beside(document))
        write_atomic(staged / RECIPE, run.setup.recipe.to_yaml())
        write_atomic(staged / HISTORY, _json_lines(p.history))
        write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_recipe(folder / RECIPE).fixed()
    read_run(folder)


def _json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _finite(value: float, step: int) -> float:
    if not np.isfinite(value):
        raise UserError(
            f"the training diverged at step {step}: the loss is not finite; the former checkpoints stay. "
            "Try a smaller --lr or a longer warm-up"
        )
    return value
