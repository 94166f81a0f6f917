"""What a compiler says of a program: memory, bytes moved, and what devices send to one another."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import jax

from dnas.errors import UserError
from dnas.process.native import unheard

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(")


class Compiled(NamedTuple):
    """Of one program, on each device."""

    arguments: int
    """Bytes, as all of memory here."""
    results: int
    """Without those that take the place of arguments."""
    temporaries: int
    code: int
    moved: float
    """Bytes between memory and units, by the compiler's own estimate, which takes the body of a loop once."""
    collectives: dict[str, int] | None
    """How often each kind stands in the program; None where the compiler is newer than jaxlib, which cannot show the
    program."""

    @property
    def memory(self) -> int:
        """Bytes that the program takes while it runs."""
        return self.arguments + self.results + self.temporaries + self.code


class TooLarge(UserError):
    """The compiler says that a program does not fit the device's memory."""


def compiled(traced: Any) -> Compiled:
    """Compiles a traced program for the devices where its arguments lie; raises `TooLarge`."""
    lowered = traced.lower()
    try:
        made = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            said = str(error).partition("\n")[0]
            raise TooLarge(f"the step does not fit the device's memory: {said}") from error
        raise
    memory: Any = made.memory_analysis()
    costs: Any = made.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return Compiled(
        memory.argument_size_in_bytes, memory.output_size_in_bytes - memory.alias_size_in_bytes,
        memory.temp_size_in_bytes, memory.generated_code_size_in_bytes, float(costs.get("bytes accessed", 0.0)),
        collectives(made),
    )  # fmt: skip


def collectives(made: Any) -> dict[str, int] | None:
    """Those of a compiled program."""
    with unheard():  # where it cannot, jaxlib writes a stack trace too
        try:
            text = made.as_text()
        except jax.errors.JaxRuntimeError:
            return None
    return dict(Counter(_COLLECTIVE.findall(text)))
