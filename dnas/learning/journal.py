"""What a run in progress writes: its history row by row, and checkpoints from which it can go on.

The history grows in `history.partial.jsonl` and is written under its own name with the result, so a rerun leaves the
former result alone until it has its own. Checkpoints hold the history too: a continued run repeats it bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dnas.errors import Diverged, UserError
from dnas.files import write_atomic
from dnas.learning.checkpoint import Checkpoints
from dnas.learning.course import Course, Metrics, State
from dnas.learning.events import EventWriter
from dnas.learning.pace import Pace
from dnas.process import hosts
from dnas.runs.folder import CHECKPOINTS, PARTIAL

HISTORY = "history.jsonl"


class Journal:
    """History and checkpoints of one run; with no folder it remembers only. A context, at whose end it ends.

    Of several processes the first has a folder. It tells the others where the run goes on.
    """

    def __init__(
        self, out: Path | None, identity: Mapping[str, Any], every_s: float | None = None, tensorboard: bool = False,
        advice: str = "Try a smaller learning rate", digits: int = 6, before: int = 0, rows: Sequence[str] = (),
    ):  # fmt: skip
        """`advice` is what to try where a metric is not finite; numbers have `digits` after the point.

        Of a run of several courses, one after the other, `before` are the steps of those that have ended and `rows`
        their history; checkpoints of theirs are not of this one, and go.
        """
        self.out, self.identity, self.pace, self.advice, self.digits = out, identity, Pace(every_s), advice, digits
        self._events = EventWriter(out / "events") if tensorboard and out is not None else None
        self.before, self.rows = before, list(rows)
        self.taken = 0
        """Number of the last step of the course that was taken; phases that end early leave some out."""
        self._checkpoints: Checkpoints | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: Any) -> None:
        with contextlib.suppress(Exception) if raised else contextlib.nullcontext():  # the run's own error is told
            self.end()

    def begin(self, course: Course, resume: bool, force: bool) -> tuple[State, int, Metrics]:
        """The state to begin with, the number of steps behind it and what they measured last.

        A fresh start, or the newest checkpoint's.
        """
        fresh = course.start()
        state, behind, measured = self._found(fresh, resume, force)
        if resume:
            notes, behind, measured, self.rows = hosts.agreed([state.notes, behind, measured, self.rows])
            state = State(hosts.arrays_of_first(state.arrays, fresh.arrays), notes)
        self.taken = behind
        return state, behind, measured

    def _found(self, fresh: State, resume: bool, force: bool) -> tuple[State, int, Metrics]:
        if self.out is None:
            return fresh, 0, {}
        if resume and self._folder(self.out).is_dir() and (self._opened(self.out).latest() or 0) > self.before:
            saved = self._opened(self.out).restore(fresh.arrays, force=force)
            self.rows = list(saved.notes["history"])
            return State(saved.state, saved.notes["notes"]), saved.step - self.before, saved.notes["measured"]
        self.close()
        return fresh, 0, {}

    def _folder(self, out: Path) -> Path:
        return out / CHECKPOINTS

    def _opened(self, out: Path) -> Checkpoints:
        """Opened when first needed: that takes as long as hundreds of steps, and a short run needs none."""
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(self._folder(out), self.identity)
        return self._checkpoints

    def plain(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as plain numbers; raises `Diverged` where one is not finite."""
        plain = {name: _rounded(value, self.digits) for name, value in jax.device_get(row).items()}
        _refuse_nan(plain, self.advice)
        return plain

    def lacks(self, step: int) -> bool:
        """Whether the row of a step is still to be written."""
        return not self.rows or json.loads(self.rows[-1])["step"] < self.before + step

    def note(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds a row; returns it as `plain` does."""
        plain = self.plain(row | {"step": self.before + row["step"]})
        self.rows.append(json.dumps(plain))
        if self._events is not None:
            self._events.write(plain)
        if self.out is not None:
            write_atomic(self.out / PARTIAL, "\n".join(self.rows) + "\n")
        return plain

    def save(self, state: State, step: int, measured: Metrics, *, now: bool = False) -> bool:
        """Begins a checkpoint if it is time, or in any case with `now`; whether it did."""
        if self.out is None or not (now or self.pace.due()):
            return False
        jax.block_until_ready(state.arrays)
        with self.pace.saving():
            exact = jax.tree.map(lambda value: np.asarray(value).tolist(), jax.device_get(measured))
            checkpoints = self._opened(self.out)
            checkpoints.save(
                self.before + step, state.arrays, {"notes": state.notes, "history": self.rows, "measured": exact}
            )
            if now:
                checkpoints.wait()
        return True

    def history(self) -> str:
        """All rows, as `HISTORY` holds them."""
        return "\n".join(self.rows) + "\n"

    def end(self) -> None:
        """Nothing is written any more; what there is to continue from stays. A second time there is nothing to do."""
        (checkpoints, self._checkpoints), (events, self._events) = (self._checkpoints, None), (self._events, None)
        try:
            if checkpoints is not None:
                with contextlib.suppress(UserError):  # the result is better than any of them
                    checkpoints.close()
        finally:
            if events is not None:
                events.close()

    def close(self) -> None:
        """No checkpoints any more."""
        if self._checkpoints is not None:
            self._checkpoints.remove()
            self._checkpoints = None
        if self.out is not None:
            shutil.rmtree(self._folder(self.out), ignore_errors=True)


def _rounded(value: Any, digits: int) -> Any:
    """A value as its row holds it: the same before a checkpoint (arrays) and after it (plain values)."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {name: _rounded(part, digits) for name, part in value.items()}
    array = np.asarray(value)
    return (array.astype(np.float64).round(digits) if array.dtype.kind == "f" else array).tolist()


def _refuse_nan(row: dict[str, Any], advice: str) -> None:
    bad = [name for name, value in row.items() if not all(map(_finite, jax.tree.leaves(value)))]
    if bad:
        raise Diverged(
            f"the run diverged at step {row['step']}: {', '.join(bad)} not finite; nothing is exported. {advice}"
        )


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
