"""Operators by loops of this process on a CPU, in the place of their own mathematics: `dnas.cpu.forms` by name."""
