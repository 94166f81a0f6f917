"""What the CPU wing offers to programs, and the plain form of each: the one place that asks for it.

Everybody computes as an offer's fields say, and so needs no word of the wing. `dnas.process.wing` finds it.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from dnas.nn.forms import Forms
from dnas.process.devices import ONE, Devices
from dnas.process.precision import Precision
from dnas.process.wing import FOLDER, offered, say_off


class RowForms(NamedTuple):
    """Gradient descent on blocks in the vector that holds them (`dnas.nn.rows`), without a copy of any vector."""

    squared: Callable[..., Array]
    """`(vector, table, chosen, gradient, decay)`: the sum of squares of gradient + decay * parameter over the blocks
    that ran, []."""
    descended: Callable[..., tuple[Array, Array]]
    """`(vector, momentum, table, chosen, gradient, (b, f, d, r)) -> (vector, momentum)`: momentum = b * momentum
    + f * (gradient + d * parameter), parameter -= r * momentum."""


class Wing(NamedTuple):
    """An offer; by default everything is plain."""

    forms: Forms = {}
    """Of operators, by name; those that are not there compute by `dnas.ops.operator.Operator.apply`."""
    rows: RowForms | None = None
    """None: `dnas.search.descent` takes rows out of vectors and puts them back."""
    calls: tuple[str, ...] = ()
    """Names by which programs call into this process."""
    close_holes: Callable[[], None] = lambda: None
    """After compiling: what it has left in the heap no longer stands in the way of steps."""
    options: Mapping[str, Any] = {}
    """For XLA's compiler."""


_elsewhere = ContextVar("elsewhere", default=False)


def wing(devices: Devices = ONE) -> Wing:
    """This process's, asked for once; plain within `plain`, and for several devices, among which loops of a process are
    not divided."""
    if _elsewhere.get():
        return Wing()
    return _plain(devices.count) if devices.several else _offered()


@functools.cache
def _offered() -> Wing:
    return offered("offer", Wing())


@functools.cache
def _plain(devices: int) -> Wing:
    if jax.default_backend() == "cpu" and importlib.util.find_spec(FOLDER) is not None:
        say_off(f"its loops compute on one device, and this run has {devices}")
    return Wing()


@contextmanager
def plain() -> Iterator[None]:
    """Within, programs are made as every other backend than this process's needs them."""
    before = _elsewhere.set(True)
    try:
        yield
    finally:
        _elsewhere.reset(before)


def forms_in(precision: Precision, devices: Devices = ONE) -> Forms:
    """Of operators; they are written for float32 alone."""
    return wing(devices).forms if precision == "float32" else {}
