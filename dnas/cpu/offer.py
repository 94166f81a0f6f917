"""What the wing offers to programs (`dnas.nn.wing.Wing`): all of it where loops can be used, else what needs none."""

from __future__ import annotations

import jax

from dnas.cpu.built import usable
from dnas.cpu.forms import FORMS
from dnas.cpu.heap import close_holes
from dnas.cpu.loops import CALLS
from dnas.cpu.row_descent import descended, squared
from dnas.nn.wing import RowForms, Wing

OPTIONS = {"xla_backend_optimization_level": 1}
"""XLA optimises less, which shortens compiling by a fifth and slows nothing."""


def offer() -> Wing:
    """What this process can have of the wing on its backend."""
    if jax.default_backend() != "cpu":
        return Wing()
    without_loops = Wing(close_holes=close_holes, options=OPTIONS)
    if not usable():
        return without_loops
    return without_loops._replace(forms=FORMS, rows=RowForms(squared, descended), calls=CALLS)
