"""How loops come to be: compiled by a process of their own, kept beside XLA's programs, refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from dnas.cpu import loops
from dnas.cpu.depthwise_loop import depthwise, mixed
from dnas.process import cache

pytestmark = pytest.mark.skipif(not loops.usable(), reason="numba is not installed, or this is no CPU")

START = """
import sys
from dnas.process.backend import configure
configure()
import jax, jax.numpy as jnp
from dnas.errors import UserError
from dnas.cpu import loops
from dnas.cpu.depthwise_loop import depthwise, mixed
if not loops.usable():
    sys.exit(print("no loops"))
try:
    loop = jax.jit(lambda x, w: mixed(depthwise, x, w, 1, 1, None))
    print(float(loop(jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2))).sum()))
except UserError as error:
    print(error)
assert "numba" not in sys.modules
"""
PRODUCTS = 2 * (4 * 4 + 4 * 6 + 9)  # of ones, for two channels: in corners, at edges, in the middle


def started(folder, **settings) -> str:
    environment = {name: value for name, value in os.environ.items() if name != loops.TRIED}
    done = subprocess.run(
        [sys.executable, "-c", START], env=environment | {"DNAS_CACHE": str(folder)} | settings, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_they_are_kept_and_what_is_spoilt_is_made_anew(tmp_path):
    assert float(started(tmp_path)) == PRODUCTS
    found = {path: cache.read(path) or b"" for path in (tmp_path / "loops").iterdir()}
    kept, whole = max(found.items(), key=lambda item: len(item[1]))
    assert len(found) == 2 and whole
    # The next start asks nobody: a name it cannot know stands in for what was made.
    cache.write(kept, whole.replace(b'"work"', b'"another"'))
    assert "'work'" in started(tmp_path)
    for spoilt in (kept.read_bytes()[:-1], b""):
        kept.write_bytes(spoilt)
        assert float(started(tmp_path)) == PRODUCTS
        found = cache.read(kept)
        assert found and b'"work"' in found


def test_they_need_no_cache():
    assert float(started("")) == PRODUCTS


@pytest.mark.parametrize(
    "broken",
    [
        "raise ImportError('this numba is broken')",
        "import os; os.abort()",
        "class njit: pass",
    ],
)
def test_without_a_numba_that_works_programs_go_without_loops(tmp_path, broken):
    (tmp_path / "numba.py").write_text(broken + "\n")
    assert started(tmp_path / "cache", PYTHONPATH=str(tmp_path)) == "no loops"
    assert not (tmp_path / "cache" / "loops").exists(), "it is tried again: another may be installed"


def loop(x, w):
    return mixed(depthwise, x, w, 1, 1, None)


def test_a_trace_waits_unless_who_compiles_will(monkeypatch):
    waited = []
    monkeypatch.setattr(loops, "wait", lambda: waited.append(True))
    with loops.awaited_later():
        jax.make_jaxpr(loop)(jnp.ones((1, 13, 13, 2)), jnp.ones((3, 3, 2)))
    assert not waited
    jax.make_jaxpr(loop)(jnp.ones((1, 14, 14, 2)), jnp.ones((3, 3, 2)))
    assert waited
