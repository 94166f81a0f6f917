"""The programs of a search, traced for any device and run on none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from dnas.data.dataset import Dataset
from dnas.nn.wing import plain
from dnas.process.devices import AXIS, ONE, Devices
from dnas.search import strategies
from dnas.search.problem import Problem

STEP = ("learn", "update_weights", "step_used", "write_used")
"""Names of the programs that take a step of the weights (`dnas.search.descent`)."""
FEW = 5
"""Images: both shares of a split have some, and their statistics take no time."""


class Elsewhere(Devices):
    """Devices that are not here: a batch is its shape, and what is learned stays on this machine, as nothing is run."""

    def batch(self, tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), _kind(leaf), sharding=self.rows(len(leaf))), tree
        )

    def own_rows(self, size: int) -> np.ndarray:
        return np.arange(size)

    def batch_of_rows(self, tree: Any, size: int) -> Any:
        return self.batch(tree)

    def state(self, tree: Any) -> Any:
        return tree


def elsewhere(devices: Sequence[Any]) -> Devices:
    """Of a topology's devices; a single one is a mesh too."""
    return Elsewhere(Mesh(np.array(devices), (AXIS,)))


@dataclass
class Recorded:
    """A program as a strategy asks for it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donate: tuple[int, ...]
    devices: Devices = ONE

    @property
    def name(self) -> str:
        return self.function.__name__

    def shapes(self) -> tuple[Any, ...]:
        """The arguments without their numbers, and where they lie."""
        if self.devices.several:
            return self.devices.shapes(self.arguments)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), _kind(leaf)), self.arguments)

    def traced(self) -> Any:
        """For arguments of these shapes."""
        return jax.jit(self.function, donate_argnums=self.donate).trace(*self.shapes())

    def __call__(self, *arguments: Any) -> Any:
        raise AssertionError("a recorded program is not run")


@dataclass
class Recorder:
    """Takes the place of `dnas.search.compiling.Compiler`: it compiles nothing."""

    devices: Devices = ONE
    programs: list[Recorded] = field(default_factory=list)

    def __call__(self, function: Callable, *arguments: Any, donate: Sequence[int] = (), gives: Any = None) -> Recorded:
        self.programs.append(Recorded(function, arguments, tuple(donate), self.devices))
        return self.programs[-1]


@contextmanager
def recorded(problem: Problem, strategy: str, here: bool) -> Iterator[list[Recorded]]:
    """Every program of a strategy, to be traced within this context; `here`: as this process would run them."""
    module, recorder = strategies.load(strategy), Recorder(problem.devices)
    if here:
        module.compile_programs(problem, recorder)
        yield recorder.programs
        return
    with plain():
        module.compile_programs(problem, recorder)
        yield recorder.programs


def of_step(programs: Sequence[Recorded]) -> list[Recorded]:
    """Those that take a step of the weights."""
    return [program for program in programs if program.name in STEP]


def stand_in(side: int, channels: int, classes: int) -> Dataset:
    """A few images that are all black and of the first class: only their shape and the number of classes matter."""
    labels = np.zeros(FEW, np.int32)
    images = np.zeros((FEW, side, side, channels), np.uint8)
    names = tuple(f"class {n}" for n in range(classes))
    return Dataset(f"images of {side} px", images, labels, images, labels, names)


def _kind(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
