"""A strict suite: two CPU devices, strict dtype promotion, deterministic properties."""

from __future__ import annotations

import os

# Before jax is imported: a third less compile time for this kind of program (see dnas/backend.py).
if "xla_cpu_use_fusion_emitters" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()

import hypothesis
import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 2)

# No deadline: the first example of a jax property compiles. The same examples at every run.
hypothesis.settings.register_profile("dnas", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("dnas")
