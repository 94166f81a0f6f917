"""What the wing offers to a command when it starts (`dnas.process.wing.Start`); jax is not imported yet."""

from __future__ import annotations

from dnas.cpu.restart import with_lasting_memory
from dnas.process.wing import Start

# XLA's newer CPU emitters, which compile every fused loop as a module of its own, take a third more compile time for
# this kind of program, and unrolled loops a fifth more. Versions that have no other emitters do without the first.
FLAGS = {
    "xla_cpu_use_fusion_emitters": "false",
    "xla_backend_extra_options": "xla_cpu_disable_loop_unrolling",
}


def offer() -> Start:
    """What the wing does when a command starts."""
    return Start(FLAGS, with_lasting_memory, _begin)


def _begin() -> None:
    from dnas.cpu import built

    built.begin()
