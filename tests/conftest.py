"""One setting for the whole suite: faster CPU compiles, no compilation cache, hypothesis without a clock.

Strict where that finds mistakes: no implicit dtype promotion, two CPU devices, warnings of our own code are errors.
Rank promotion stays allowed: a mask of channels times a map is what this code does on every line.
"""

from __future__ import annotations

import os

os.environ.setdefault("DNAS_CACHE", "")

from dnas.backend import configure  # noqa: E402

configure()

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 2)

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", r"error:::dnas(\..*)?")
