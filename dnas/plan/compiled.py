"""What a compiler says of a program: memory, bytes moved, and what devices send to one another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dnas.plan.programs import Recorded

BATCH = "data"
"""Name of the axis along which devices share a batch."""
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(")
OF_BATCH = {"learn": (2, 3)}
"""Which arguments of a program are of a batch: images and targets."""


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
    collectives: dict[str, int]
    """How often each kind stands in the program."""

    @property
    def memory(self) -> int:
        """Bytes that the program takes while it runs."""
        return self.arguments + self.results + self.temporaries + self.code


class TooLarge(Exception):
    """The compiler says that a program does not fit the device's memory."""


def compiled(program: Recorded, devices: Sequence[Any] | None) -> Compiled:
    """Compiles a program for devices that share its batch evenly, or as it is for this process's own (None).

    Raises `TooLarge`.
    """
    shapes = program.shapes() if devices is None else placed(program, devices)
    lowered = jax.jit(program.function, donate_argnums=program.donate).trace(*shapes).lower()
    try:
        made = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise TooLarge(str(error).partition("\n")[0]) from error
        raise
    memory: Any = made.memory_analysis()
    costs: Any = made.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return Compiled(
        memory.argument_size_in_bytes, memory.output_size_in_bytes - memory.alias_size_in_bytes,
        memory.temp_size_in_bytes, memory.generated_code_size_in_bytes, float(costs.get("bytes accessed", 0.0)),
        dict(Counter(_COLLECTIVE.findall(made.as_text()))),
    )  # fmt: skip


def placed(program: Recorded, devices: Sequence[Any]) -> tuple[Any, ...]:
    """Shapes of the arguments, with where they lie: a batch in equal parts, everything else whole on each device."""
    mesh = Mesh(np.array(devices), (BATCH,))
    whole, shared = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec(BATCH)))

    def at(sharding: NamedSharding, argument: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), argument)

    split = OF_BATCH.get(program.name, ())
    return tuple(at(shared if n in split else whole, argument) for n, argument in enumerate(program.shapes()))
