"""Rows of a history as TensorBoard event files (extra `log`)."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnas.errors import MissingExtra, cannot_write

PREFIX = {
    "loss": "weights", "accuracy": "weights", "theta_loss": "choices", "theta_accuracy": "choices",
    "entropy": "choices", "temperature": "choices", "skip_share": "choices", "expected": "budgets",
    "multipliers": "budgets", "probabilities": "probabilities",
}  # fmt: skip
"""Group under which TensorBoard shows a key; others stand under `other`."""


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of every number in a row; lists by position from 0, texts and what is not finite left out."""
    for key, value in row.items():
        if key not in ("step", "theta_step"):
            yield from _tagged(f"{PREFIX.get(key, 'other')}/{key}", value)


def _tagged(tag: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tagged(f"{tag}/{key}", part)
    elif isinstance(value, list | tuple):
        for n, part in enumerate(value):
            yield from _tagged(f"{tag}/{n}", part)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield tag, float(value)


class EventWriter:
    """Writes rows into a new event file of `folder`, one event a row; what is written survives a kill.

    tensorboardX's own writer hands events to a thread, where a full disk would go unnoticed: its records are written
    here instead.

    Raises `MissingExtra` without tensorboardX, `UserError` where the folder cannot be written.
    """

    def __init__(self, folder: Path):
        try:
            records = importlib.import_module("tensorboardX.record_writer")
            self._events: Any = importlib.import_module("tensorboardX.proto.event_pb2")
        except ModuleNotFoundError as error:
            raise MissingExtra(f"--tensorboard needs tensorboardX: pip install 'dnas[log]' ({error})") from error
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.dnas"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._records = records.RecordWriter(str(self.path))
            self._write(self._events.Event(wall_time=time.time(), file_version="brain.Event:2"))
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row of the history, under its `step`."""
        event = self._events.Event(wall_time=time.time(), step=int(row["step"]))
        for tag, value in scalars(row):
            event.summary.value.add(tag=tag, simple_value=value)
        try:
            self._write(event)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Ends the file."""
        self._records.close()
