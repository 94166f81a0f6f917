"""Compiling a search's programs: each is traced once, and while one compiles the next is traced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import jax

from dnas.interrupt import COMPILING


class Program:
    """A compiled function; the first call waits until the compiler is done."""

    def __init__(self, future: Future[jax.stages.Compiled]):
        self._future = future

    @property
    def compiled(self) -> jax.stages.Compiled:
        return self._future.result()

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
    """Turns functions into programs, and knows how many there were and how long they took.

    `quick` asks XLA on CPU for less optimisation: a quarter less compile time for a step that is a little slower.
    """

    def __init__(self, quick: bool = False):
        self.began = time.monotonic()
        self.seconds = 0.0
        """From the first program asked for to the last one ready."""
        self.traced: list[str] = []
        self._programs: list[Program] = []
        on_cpu = jax.default_backend() == "cpu"
        self._options: dict[str, Any] = {"xla_backend_optimization_level": 1} if quick and on_cpu else {}

    def __call__(self, function: Callable, *arguments: Any, donate: Sequence[int] = ()) -> Program:
        """The program of `function` for arguments like these (arrays or their shapes)."""
        self.traced.append(getattr(function, "__name__", "program"))
        lowered = jax.jit(function, donate_argnums=tuple(donate)).trace(*arguments).lower()
        future: Future[jax.stages.Compiled] = Future()
        # A daemon, not an executor's worker: Ctrl-C must not wait for the compiler.
        threading.Thread(target=self._compile, args=(lowered, future), name=COMPILING, daemon=True).start()
        program = Program(future)
        self._programs.append(program)
        return program

    def _compile(self, lowered: jax.stages.Lowered, future: Future) -> None:
        try:
            future.set_result(lowered.compile(self._options))
        except BaseException as error:  # raised where the program is first called
            future.set_exception(error)

    def done(self, wait_s: float) -> bool:
        """Whether every program is ready, waiting up to `wait_s` seconds for them."""
        end = time.monotonic() + wait_s
        for program in self._programs:
            if not program.ready(max(0.0, end - time.monotonic())):
                return False
        self.seconds = time.monotonic() - self.began
        return True
