"""Traced programs that a later start reads: the same program, and never one of another search."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.search.compiling import Compiler
from dnas.search.traces import Traces, traces

X = np.arange(6, dtype=np.float32).reshape(2, 3)
GIVES = {"sum": 0, "scaled": (0, 0)}


class Scaling:
    """A function that counts how often it is traced."""

    def __init__(self, factor: float = 2.0):
        self.count, self.factor, self.__name__ = 0, factor, "scaling"

    def __call__(self, x, weights):
        self.count += 1
        return {"sum": jnp.sum(x), "scaled": (self.factor * x, weights["w"] @ x)}


def started(folder: Path | None, function: Scaling, search: dict | None = None):
    """What the program of a fresh start gives."""
    kept = folder and Traces(folder, search or {"space": "a"})
    jax.clear_caches()
    weights = {"w": np.ones((4, 2), np.float32)}
    compiler = Compiler(traces=kept)
    result = compiler(function, X, weights, gives=GIVES)(X, weights)
    assert (len(compiler.traced), len(compiler.read)) == (function.count, 1 - function.count)
    return jax.tree.map(np.asarray, result)


def same(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_a_second_start_traces_nothing_and_gives_the_same(tmp_path):
    first, second = Scaling(), Scaling()
    alone, kept = started(None, Scaling()), started(tmp_path, first)
    read = started(tmp_path, second)
    assert (first.count, second.count) == (1, 0)
    assert same(alone, kept) and same(kept, read) and np.array_equal(kept["scaled"][0], 2 * X)


@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda b: b"", lambda b: b[:40] + b"x" + b[41:], None])
def test_a_spoilt_file_is_traced_anew(tmp_path, spoil):
    started(tmp_path, Scaling())
    (file,) = tmp_path.iterdir()
    if spoil:
        file.write_bytes(spoil(file.read_bytes()))
    else:
        file.unlink()
        file.mkdir()  # neither read nor written
    function = Scaling()
    assert same(started(tmp_path, function), started(None, Scaling()))
    assert function.count == 1
    again = Scaling()
    started(tmp_path, again)
    assert again.count == (0 if spoil else 1)  # what was spoilt is whole again


def test_another_search_another_shape_and_other_settings_are_traced_anew(tmp_path):
    started(tmp_path, Scaling())
    other = Scaling(3.0)
    assert np.array_equal(started(tmp_path, other, {"space": "b"})["scaled"][0], 3 * X)
    double = Scaling()
    with jax.default_matmul_precision("highest"):
        started(tmp_path, double)
    assert (other.count, double.count) == (1, 1) and len(list(tmp_path.iterdir())) == 3


def test_they_lie_in_the_folder_of_the_compilers_cache(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert traces({}) is None
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        found = traces({})
        assert found is not None and found.folder == tmp_path / "traces"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_structure_that_is_not_returned_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="scaling returns"):
        Compiler()(Scaling(), X, {"w": X.T}, gives={"other": 0})


def test_what_the_portable_form_needs_comes_with_dnas():
    """Each search writes it, so that no extra may hold the library that does."""
    core = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(requirement.startswith("flatbuffers") for requirement in core)
