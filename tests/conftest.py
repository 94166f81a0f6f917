"""One setting for the whole suite: faster CPU compiles, no compilation cache, hypothesis without a clock.

With DNAS_CHECKED=1 annotations of arrays are checked at every call, shapes with them, and types of numbers never change
by themselves.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import install_import_hook

os.environ.setdefault("DNAS_CACHE", "")
CHECKED = os.environ.get("DNAS_CHECKED") == "1"
if CHECKED:
    # Every file that annotates arrays, before any is imported. Commands in processes of their own run as users do.
    source = Path(__file__).parents[1] / "dnas"
    files = [file for file in source.rglob("*.py") if "from jaxtyping import" in file.read_text()]
    names = [".".join(("dnas", *file.relative_to(source).with_suffix("").parts)) for file in files]
    # A whole number is a number too (PEP 484), as annotations mean it.
    install_import_hook(names, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

from dnas.process.backend import configure  # noqa: E402

configure()

import jax  # noqa: E402

if CHECKED:
    import optax

    jax.config.update("jax_numpy_dtype_promotion", "strict")
    # Adam takes a power of its count of steps, an integer: the library's own arithmetic promotes as it wants.
    optax.tree.bias_correction = jax.numpy_dtype_promotion("standard")(optax.tree.bias_correction)

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="module")
def what_was_compiled_goes() -> Iterator[None]:
    """With each file of tests: over the whole suite programs that nobody calls again took 5 GB of every worker."""
    yield
    jax.clear_caches()
    gc.collect()
