"""Compiling a search's programs: each is traced once, and while one compiles the next is traced.

On CPU the large ones pass through their portable form (`jax.export`), which can be kept: a later start of the same
search then reads them and traces none. They do so where nothing is kept too, so that the compiler is given the same
text, and the search has the same result, either way.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import jax
from jax import export

from dnas.nn.wing import wing
from dnas.process.devices import ONE, Devices
from dnas.process.interrupt import COMPILING
from dnas.search.traces import Traces


class Program:
    """A compiled function; the first call waits until the compiler is done."""

    def __init__(self, future: Future[jax.stages.Compiled]):
        self._future = future

    @property
    def compiled(self) -> jax.stages.Compiled:
        return self._future.result()

    @property
    def ended(self) -> bool:
        """Whether the compiler has come to an end with it, in whatever way."""
        return self._future.done()

    def ready(self, wait_s: float) -> bool:
        """Whether the compiler is done, waiting up to `wait_s` seconds; raises what it raised."""
        try:
            self._future.result(wait_s)
        except TimeoutError:
            return False
        return True

    def __call__(self, *arguments: Any) -> Any:
        return self._future.result()(*arguments)


class Compiler:
    """Turns functions into programs, and knows how many there were and how long they took."""

    def __init__(self, traces: Traces | None = None, devices: Devices = ONE):
        self.began = time.monotonic()
        self.seconds = 0.0
        """From the first program asked for to the last one ready."""
        self.traced: list[str] = []
        self.read: list[str] = []
        """Programs that an earlier start has traced."""
        self._programs: list[Program] = []
        self._traces, self._devices, self._wing = traces, devices, wing(devices)
        # What is portable is made for one device.
        self._on_cpu = jax.default_backend() == "cpu" and not devices.several

    def __call__(self, function: Callable, *arguments: Any, donate: Sequence[int] = (), gives: Any = None) -> Program:
        """The program of `function` for arguments like these (arrays or their shapes).

        `gives`, for a large one: a pytree of the structure of what it returns; its leaves do not matter.
        """
        with uncollected():
            if gives is not None and self._on_cpu:
                function = self._portable(function, arguments, jax.tree.structure(gives))
            else:
                self.traced.append(function.__name__)
            shapes = self._devices.shapes(arguments)
            lowered = jax.jit(function, donate_argnums=tuple(donate)).trace(*shapes).lower()
        future: Future[jax.stages.Compiled] = Future()
        # A daemon, not an executor's worker: Ctrl-C must not wait for the compiler.
        threading.Thread(target=self._compile, args=(lowered, future), name=COMPILING, daemon=True).start()
        program = Program(future)
        self._programs.append(program)
        return program

    def _portable(self, function: Callable, arguments: Sequence[Any], gives: Any) -> Callable:
        """`function` by its portable form, read where it was kept, else traced."""
        leaves, takes = jax.tree.flatten(arguments)
        name = function.__name__
        kept = self._traces and self._traces.read(name, leaves)
        (self.traced if kept is None else self.read).append(name)
        if kept is None:
            kept = _exported(function, leaves, takes, gives)
            if self._traces:
                self._traces.write(name, leaves, kept)
        call = export.deserialize(bytearray(kept)).call
        return _renamed(lambda *new: jax.tree.unflatten(gives, call(*jax.tree.leaves(new))), name)

    def _compile(self, lowered: jax.stages.Lowered, future: Future) -> None:
        try:
            future.set_result(lowered.compile(dict(self._wing.options)))
        except BaseException as error:  # raised where the program is first called
            future.set_exception(error)

    def standing(self) -> str:
        """How far it is, for people: how many programs there will be is known when all are traced."""
        ready = sum(program.ended for program in list(self._programs))
        known = len(self.traced) + len(self.read)
        return f"{ready} of {known} programs done; usually under two minutes, seconds when started again"

    def done(self, wait_s: float) -> bool:
        """Whether every program is ready, waiting up to `wait_s` seconds for them."""
        end = time.monotonic() + wait_s
        for program in self._programs:
            if not program.ready(max(0.0, end - time.monotonic())):
                return False
        self._wing.close_holes()
        self.seconds = time.monotonic() - self.began
        return True

    @property
    def memory(self) -> int:
        """Bytes that the largest program takes while it runs, with its arguments and results; 0 where XLA is silent."""
        return max((_memory(program.compiled) for program in self._programs), default=0)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles: what a trace makes stays, and is gone through again and again, for a tenth of
    a start's time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _memory(compiled: jax.stages.Compiled) -> int:
    m = compiled.memory_analysis()
    if m is None:
        return 0
    return m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes - m.alias_size_in_bytes


def _exported(function: Callable, leaves: Sequence[Any], takes: Any, gives: Any) -> bytes:
    def flat(*leaves: Any) -> list:
        result = function(*jax.tree.unflatten(takes, leaves))
        if jax.tree.structure(result) != gives:
            raise TypeError(f"{function.__name__} returns {jax.tree.structure(result)}, not {gives}")
        return jax.tree.leaves(result)

    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    # The call into this process needs no promise of stability: what is kept is for the same sources alone.
    own = [export.DisabledSafetyCheck.custom_call(name) for name in wing().calls]
    return bytes(export.export(jax.jit(_renamed(flat, function.__name__)), disabled_checks=own)(*shapes).serialize())


def _renamed(function: Callable, name: str) -> Callable:
    """Programs are known by name, in profiles and in the compiler's cache."""
    function.__name__ = name
    return function
