"""The plan of a search: what its step needs on a target, what fits there, and how fast it can be at best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax

from dnas.plan.arithmetic import Arithmetic, arithmetic
from dnas.plan.compiled import Compiled, TooLarge, compiled
from dnas.plan.programs import Recorded, elsewhere, of_step, recorded
from dnas.plan.targets import Target, devices_of
from dnas.process import free_memory
from dnas.search.problem import Problem

SPARED = 0.9
"""Share of the memory that the largest batch may take: a line through two compiles is no compile."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """One program of the step."""

    name: str
    arithmetic: Arithmetic
    """Of all devices together."""
    compiled: Compiled | None
    """None where it is lowered alone."""


@dataclass(frozen=True)
class Plan:
    """Everything that is said of a search on a target."""

    problem: Problem
    strategy: str
    target: Target | None
    """None: this process's own device."""
    device: str
    devices: int
    capacity: int | None
    """Bytes of memory of a device; None where that is not known."""
    programs: tuple[Program, ...]
    largest: int | None
    """Images of the largest batch that fits; None where it was not looked for, or nothing is known."""
    how: str

    @property
    def batch(self) -> int:
        """Images of a step."""
        return self.problem.settings.batch_size

    @property
    def arithmetic(self) -> Arithmetic:
        """Of the step, of all devices together."""
        total = Arithmetic()
        for program in self.programs:
            total += program.arithmetic
        return total

    @property
    def moved(self) -> float:
        """Bytes of a device; by products alone where nothing was compiled."""
        return sum(p.arithmetic.bytes / self.devices if p.compiled is None else p.compiled.moved for p in self.programs)

    @property
    def memory(self) -> int | None:
        """Bytes of a device that the program with the most takes."""
        sizes = [p.compiled.memory for p in self.programs if p.compiled is not None]
        return max(sizes, default=None)

    @property
    def at_least(self) -> dict[str, float] | None:
        """Seconds of a step that the arithmetic alone takes, and that memory alone takes (the roofline, Williams et al.
        2009); None for a device of which no peaks are known."""
        chip = None if self.target is None else self.target.chip
        if chip is None or self.target is None:
            return None
        share = self.devices / self.target.chips  # two devices may share a chip
        each = self.arithmetic.flops / self.devices
        return {"compute": each * share / chip.flops, "memory": self.moved * share / chip.bytes_per_s}


def planned(problem: Problem, strategy: str, target: Target | None, find_largest: bool, say: Say) -> Plan:
    """Traces and, where there is a compiler for the target, compiles the step of a search.

    Raises:
        InputError: a topology that there is none of.
        TooLarge: not one image a device fits.
    """
    if target is None:
        device = jax.devices()[0]
        name, devices, capacity = device.device_kind, 1, free_memory.on_device()
    elif target.chip is None:
        name, devices, capacity = target.name, 1, None
    else:
        there = devices_of(target)
        name, devices = there[0].device_kind, len(there)
        capacity = target.chip.memory * target.chips // devices
        problem = replace(problem, devices=elsewhere(there))
    made = _Made(problem, strategy, target, say)
    batch = made.fitting()
    programs = made.programs(batch)
    largest, how = None, "not looked for"
    if find_largest and capacity is not None:
        largest, how = made.largest(batch, capacity, devices)
    return Plan(made.at(batch), strategy, target, name, devices, capacity, programs, largest, how)


class _Made:
    """Programs of the step by batch, each compiled once."""

    def __init__(self, problem: Problem, strategy: str, target: Target | None, say: Say):
        self.problem, self.strategy, self.target, self.say = problem, strategy, target, say
        self.lowers = target is not None and target.chip is None
        self._programs: dict[int, tuple[Program, ...]] = {}

    def at(self, batch: int) -> Problem:
        """The problem with another batch."""
        return replace(self.problem, settings=replace(self.problem.settings, batch_size=batch))

    def programs(self, batch: int) -> tuple[Program, ...]:
        """Of the step on a batch; raises `TooLarge`."""
        if batch not in self._programs:
            self.say(f"{'lowering' if self.lowers else 'compiling'} the step on {batch} images")
            with recorded(self.at(batch), self.strategy, here=self.target is None) as programs:
                self._programs[batch] = tuple(self._program(p) for p in of_step(programs))
        return self._programs[batch]

    def fitting(self) -> int:
        """The problem's batch, or the half of it, and so on, that the compiler takes."""
        batch = self.problem.settings.batch_size
        while True:
            try:
                self.programs(batch)
                return batch
            except TooLarge as error:
                least = self.problem.devices.count
                if batch // 2 < least:
                    raise
                self.say(f"{batch} images do not fit: {error}")
                batch = batch // 2 // least * least

    def largest(self, batch: int, capacity: int, devices: int) -> tuple[int, str]:
        """Images of the largest batch, by a line through two compiles; of a multiple of the devices."""
        other = 2 * batch if batch < 2 * devices else batch // 2 // devices * devices
        found = {n: max(p.compiled.memory for p in self.programs(n) if p.compiled) for n in (other, batch)}
        each = (found[batch] - found[other]) / (batch - other)
        how = f"by a line through compiles at {min(found)} and {max(found)} images, with {1 - SPARED:.0%} to spare"
        if each <= 0:
            return batch, f"{how}; memory does not grow between them"
        most = batch + (SPARED * capacity - found[batch]) / each
        return max(0, int(most) // devices * devices), how

    def _program(self, program: Recorded) -> Program:
        platform = jax.default_backend() if self.target is None else self.target.platform
        traced = jax.jit(program.function, donate_argnums=program.donate).trace(*program.shapes())
        counted = arithmetic(traced.jaxpr, platform)
        if not self.lowers:
            return Program(program.name, counted, compiled(traced))
        traced.lower(lowering_platforms=(platform,))
        return Program(program.name, counted, None)
