"""The plan of a search: what its step needs on a target, what fits there, and how fast it can be at best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax

from dnas.plan.arithmetic import Arithmetic, arithmetic
from dnas.plan.compiled import Compiled, TooLarge, compiled
from dnas.plan.programs import elsewhere, of_step, recorded
from dnas.plan.targets import Target, devices_of
from dnas.process import free_memory
from dnas.search.problem import Problem

SPARED = 0.9
"""Share of the memory that the largest batch may take: a line through two compiles is no compile."""
Say = Callable[[str], None]


class Step(NamedTuple):
    """The programs of a step, by name."""

    counted: dict[str, Arithmetic]
    """As accelerators run them: forms that only this process has are not in them."""
    compiled: dict[str, Compiled]
    """Empty where they are lowered alone."""


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
    step: Step
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
        return sum(self.step.counted.values(), Arithmetic())

    @property
    def moved(self) -> float:
        """Bytes of a device; by products alone where nothing was compiled."""
        return sum(c.moved for c in self.step.compiled.values()) or self.arithmetic.bytes / self.devices

    @property
    def memory(self) -> int | None:
        """Bytes of a device that the program with the most takes."""
        return max((c.memory for c in self.step.compiled.values()), default=None)

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
    for note in problem.devices.note(batch):
        say(note)
    largest, how = None, "not looked for"
    if find_largest and capacity is not None:
        try:
            largest, how = made.largest(batch, capacity, devices)
        except TooLarge:
            largest, how = batch, "as twice as many do not fit"
    return Plan(made.at(batch), strategy, target, name, devices, capacity, made.step(batch), largest, how)


class _Made:
    """Programs of the step by batch, each compiled once."""

    def __init__(self, problem: Problem, strategy: str, target: Target | None, say: Say):
        self.problem, self.strategy, self.target, self.say = problem, strategy, target, say
        self.lowers = target is not None and target.chip is None
        self.platform = "" if target is None else target.platform
        """Empty: no operation has a form of its own for it."""
        self._steps: dict[int, Step] = {}

    def at(self, batch: int) -> Problem:
        """The problem with another batch."""
        return replace(self.problem, settings=replace(self.problem.settings, batch_size=batch))

    def step(self, batch: int) -> Step:
        """On a batch; raises `TooLarge`."""
        if batch not in self._steps:
            self.say(f"{'lowering' if self.lowers else 'compiling'} the step on {batch} images")
            self._steps[batch] = self._made(self.at(batch))
        return self._steps[batch]

    def fitting(self) -> int:
        """The problem's batch, or the half of it, and so on, that the compiler takes."""
        batch = self.problem.settings.batch_size
        while True:
            try:
                self.step(batch)
                return batch
            except TooLarge as error:
                least = self.problem.devices.count
                if batch // 2 < least:
                    raise
                self.say(f"{batch} images: {error}")
                batch = batch // 2 // least * least

    def largest(self, batch: int, capacity: int, devices: int) -> tuple[int, str]:
        """Images of the largest batch, by a line through two compiles; of a multiple of the devices."""
        other = 2 * batch if batch < 2 * devices else batch // 2 // devices * devices
        found = {n: max(c.memory for c in self.step(n).compiled.values()) for n in (other, batch)}
        each = (found[batch] - found[other]) / (batch - other)
        how = f"by a line through compiles at {min(found)} and {max(found)} images, with {1 - SPARED:.0%} to spare"
        if each <= 0:
            return batch, f"{how}; memory does not grow between them"
        most = batch + (SPARED * capacity - found[batch]) / each
        return max(0, int(most) // devices * devices), how

    def _made(self, problem: Problem) -> Step:
        """The step traced as accelerators run it, and lowered or compiled for the target."""
        with recorded(problem, self.strategy, here=False) as programs:
            traced = {program.name: program.traced() for program in of_step(programs)}
            counted = {name: arithmetic(one.jaxpr, self.platform) for name, one in traced.items()}
            if self.lowers:
                for one in traced.values():
                    one.lower(lowering_platforms=(self.platform,))
            if self.target is not None:
                return Step(counted, {} if self.lowers else {name: compiled(one) for name, one in traced.items()})
        with recorded(problem, self.strategy, here=True) as programs:
            return Step(counted, {program.name: compiled(program.traced()) for program in of_step(programs)})
