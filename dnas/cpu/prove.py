"""Whether every form of the wing gives what its plain form does: values and gradients on small inputs.

Run by `dnas.cpu.build`, in the process that has built the loops: one that is wrong may end it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.cpu.forms import FORMS
from dnas.cpu.row_descent import descended, squared
from dnas.graph import Builder
from dnas.nn.forms import Forms
from dnas.nn.forward import Forward, Switch
from dnas.nn.gates import Gates, Layout, gumbel_softmax, init_theta
from dnas.nn.lookup import StackedLookup, requests
from dnas.nn.rows import Table, put, take
from dnas.ops import Activation, BatchNorm, Conv, Depthwise
from dnas.ops.operator import Operator, Parameter
from dnas.ops.tensor import Value, square
from dnas.space.quantity import Choice, Quantity

IMAGES, TOLERANCE = 3, 1e-3
"""Of the largest number, or of 1."""
QUICK = {"xla_backend_optimization_level": 0}
SIDES, KERNELS, ACTS = Choice("side", (3, 5)), Choice("kernel", (3, 5)), Choice("act", ("relu", "hswish", "none"))
LAYOUT = Layout((SIDES, KERNELS, ACTS))


class Case(NamedTuple):
    """An operator on maps of so many channels; `momentum` as `dnas.nn.forward.Forward` has it: with a `Switch`, which
    is for evaluation, there are no gradients."""

    operator: Operator
    channels: int
    side: Quantity = Quantity.of(SIDES)
    momentum: Any = 0.9


ONE = Quantity.constant(4)
CASES: Mapping[str, Sequence[Case]] = {
    "conv": [Case(Conv(Quantity.constant(6), Quantity.constant(3), stride=2, bias=True), 3)],
    "depthwise": [Case(Depthwise(Quantity.of(KERNELS), stride=2), 21), Case(Depthwise(Quantity.constant(3)), 4, ONE)],
    "batch_norm": [
        Case(BatchNorm(), 5), Case(BatchNorm(), 5, ONE), Case(BatchNorm(), 5, ONE, Switch(jnp.float32(0.5), 0.9))
    ],
    "activation": [Case(Activation(Quantity.of(ACTS)), 5, ONE)],
}  # fmt: skip
"""Of each form by its operator's name, on maps of one side and of several mixed."""


def check() -> None:
    """Raises `RuntimeError` with the name of a form that is wrong."""
    computed = jax.jit(lambda: list(_compared()), compiler_options=QUICK)
    for (ours, plain), name in zip(jax.device_get(computed()), _names(), strict=True):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise RuntimeError(f"{name} gives {a.dtype}{a.shape}, not {b.dtype}{b.shape}")
            apart = np.abs(a - b).max(initial=0)
            if not apart <= TOLERANCE * max(1, np.abs(b).max(initial=0)):  # NaN is neither
                raise RuntimeError(f"{name} is {apart:.2g} off its plain form")


def _names() -> Iterator[str]:
    yield from (name for name in FORMS for _ in CASES[name])
    yield "row descent"


def _compared() -> Iterator[tuple[Any, Any]]:
    """For each of `_names`, what the form gives and what the plain one does."""
    for name in FORMS:
        for case in CASES[name]:
            yield _result(case, FORMS), _result(case, {})
    yield _stepped(squared, descended), _stepped(_squared, _descended)


class _Held:
    """Parameters by path; statistics that an operator leaves."""

    def __init__(self, values: dict[str, Array]):
        self.values, self.after = values, dict[str, Array]()

    def get(self, path: str, parameter: Parameter) -> Array:
        return self.values[path]

    def update(self, path: str, value: Array) -> None:
        self.after[path] = value


def _result(case: Case, forms: Forms) -> Any:
    """Value, new statistics, and the gradients for the input, parameters and gates."""
    builder, draw = Builder(), np.random.default_rng(0)
    x = square(case.side, Quantity.constant(case.channels))
    y = builder.add("op", case.operator, x)
    graph = builder.graph(x, y)
    parameters = {
        path: jnp.asarray(draw.uniform(0.5, 1.5, parameter.lengths), jnp.float32)
        for path, parameter in graph.parameters.items()
    }
    array = jnp.asarray(draw.normal(size=(IMAGES, *(axis.length for axis in x.axes))), jnp.float32)
    values = gumbel_softmax(LAYOUT, init_theta(LAYOUT), jax.random.key(0), 1.0).values

    def applied(array: Array, parameters: dict[str, Array], values: Array) -> Any:
        held, gates = _Held(parameters), Gates(values, LAYOUT)
        forward = Forward(held, gates, StackedLookup(requests(graph), LAYOUT)(gates), case.momentum, forms=forms)  # pyright: ignore
        return forward.run(graph.parts, Value(x, array), y), held.after

    if isinstance(case.momentum, Switch):
        return applied(array, parameters, values)
    found, pull, after = jax.vjp(applied, array, parameters, values, has_aux=True)
    return found, after, pull(jnp.cos(jnp.arange(found.size, dtype=found.dtype)).reshape(found.shape))


# Steps on rows ------------------------------------------------------------------------------------------------------

TABLE = Table(np.array([[0, 3, 8, 0], [8, 11, 16, 8]]), np.array([[3, 5, 0, 0], [3, 5, 1, 0]]), 5)
"""Two layers of three options and nothing, one of them without parameters."""
CHOSEN, DECAY, COEFFICIENTS = np.array([[1, 0], [2, 3]], np.int32), 0.1, (0.9, 0.5, 0.1, 0.2)


def _stepped(squares: Any, descends: Any) -> Any:
    draw = np.random.default_rng(0)
    vector, momentum = (jnp.asarray(draw.normal(size=17 + TABLE.longest), jnp.float32) for _ in range(2))
    gradient = jnp.asarray(draw.normal(size=(*CHOSEN.shape, TABLE.longest)), jnp.float32)
    gradient *= take(jnp.ones_like(vector), TABLE, jnp.asarray(CHOSEN))
    at = TABLE, jnp.asarray(CHOSEN), gradient
    return squares(vector, *at, DECAY), descends(vector, momentum, *at, COEFFICIENTS)


def _squared(vector: Array, table: Table, chosen: Array, gradient: Array, decay: float) -> Array:
    return jnp.sum(jnp.square(gradient + decay * take(vector, table, chosen)))


def _descended(
    vector: Array, momentum: Array, table: Table, chosen: Array, gradient: Array, coefficients: Sequence[float]
) -> tuple[Array, Array]:
    beta, factor, decay, rate = coefficients
    own, moving = take(vector, table, chosen), take(momentum, table, chosen)
    moved = beta * moving + factor * (gradient + decay * own)
    return put(vector, table, chosen, own - rate * moved), put(momentum, table, chosen, moved)
