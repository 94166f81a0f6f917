"""Pairs as numbers: what the predictor is given.

A choice of numbers that rise is one number, its place among them, from -1 to 1 (so a range of logarithms is even in the
logarithm); any other choice is one-hot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dnas.joint.pairs import Rows
from dnas.space.quantity import Choice


class Encoding:
    """Of rows of option indices; choices have columns of their own, in their order."""

    def __init__(self, choices: Sequence[Choice]):
        self.tables = [_table(choice) for choice in choices]
        self.width = sum(table.shape[1] for table in self.tables)

    def __call__(self, rows: Rows) -> Float[np.ndarray, "n width"]:
        parts = [table[rows[:, n]] for n, table in enumerate(self.tables)]
        return np.concatenate([np.zeros((len(rows), 0)), *parts], axis=1).astype(np.float32)


def _table(choice: Choice) -> Float[np.ndarray, "options columns"]:
    """The columns of each option."""
    options = choice.options
    numbers = all(isinstance(o, int | float) and not isinstance(o, bool) for o in options)
    if numbers and list(options) == sorted(map(float, options)):
        return np.linspace(-1, 1, len(options))[:, None]
    if len(options) == 2:
        return np.array([[-1.0], [1.0]])
    return np.eye(len(options))
