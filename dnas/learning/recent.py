"""The running accuracy that is shown as a run steps, from what its steps compute anyway.

Steps on the choices classify images that the weights have not learned from: their mean over the last `IMAGES` images is
a validation accuracy, of networks as the search draws them. A phase without such steps has its training accuracy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dnas.learning.course import Metrics

IMAGES = 512
NAMES = {"val": "theta_accuracy", "train": "accuracy"}
"""Name of a running accuracy -> the metric of a step that it is the mean of."""


class Recent:
    """Accuracies of the last steps of a phase; read from the device only where a row is written.

    What it knows goes through checkpoints (`kept`), so that a continued run writes the same rows.
    """

    def __init__(self, batch_size: int, measured: Mapping[str, Any]):
        self.batch_size = batch_size
        last = max(1, IMAGES // batch_size)
        self.parts = {name: deque(measured.get(f"recent_{name}", []), maxlen=last) for name in NAMES}

    def begin(self) -> None:
        """A phase begins: what the last one measured is of other networks."""
        for part in self.parts.values():
            part.clear()

    def add(self, measured: Metrics) -> None:
        """What one step measured."""
        for name, metric in NAMES.items():
            if metric in measured:
                self.parts[name].append(measured[metric])

    def row(self) -> dict[str, Any]:
        """`NAME_accuracy` and `NAME_images` of the better measure that the phase has; nothing where it has none."""
        for name, part in self.parts.items():
            if part:
                mean = float(np.mean(np.asarray(jax.device_get(list(part)), np.float64)))
                return {f"{name}_accuracy": mean, f"{name}_images": len(part) * self.batch_size}
        return {}

    def kept(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {f"recent_{name}": list(part) for name, part in self.parts.items()}


def without(measured: Mapping[str, Any]) -> Metrics:
    """The metrics of a checkpoint without what `Recent` put there."""
    return {name: value for name, value in measured.items() if not name.startswith("recent_")}
