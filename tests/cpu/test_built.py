"""How the wing comes to be: built and proved by a process of its own, kept, and off in one line where it is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dnas
from dnas.cpu import built, versions
from dnas.cpu.forms import FORMS
from dnas.cpu.prove import CASES
from dnas.nn.wing import wing
from dnas.ops import OPERATORS
from dnas.process import cache

pytestmark = pytest.mark.skipif(not built.usable(), reason="numba is not installed, or this is no CPU")

START = """
import sys
from dnas.process.backend import configure
configure()
import jax, jax.numpy as jnp
from dnas.nn.wing import wing
if not wing().forms:
    sys.exit(print("plain"))
from dnas.cpu.depthwise_loop import depthwise, mixed
loop = jax.jit(lambda x, w: mixed(depthwise, x, w, 1, 1, None))
print(float(loop(jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2))).sum()))
assert "numba" not in sys.modules
"""
PRODUCTS = 2 * (4 * 4 + 4 * 6 + 9)  # of ones, for two channels: in corners, at edges, in the middle


ROOT = Path(dnas.__file__).parents[1]


def started(cache: Path | str, *places: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A process that has inherited no proof, and looks for modules in `places` first."""
    environment = {name: value for name, value in os.environ.items() if name != built.PROVED}
    environment |= {"DNAS_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(map(str, [*places, ROOT]))}
    return subprocess.run(
        [sys.executable, "-P", "-c", START], env=environment | settings, capture_output=True, text=True, check=True
    )


def is_off(done: subprocess.CompletedProcess[str], *says: str) -> bool:
    """Plain forms, and one line that says why."""
    lines = done.stderr.splitlines()
    return done.stdout.strip() == "plain" and len(lines) == 1 and all(word in lines[0] for word in ("note: ", *says))


def test_the_wing_is_used_where_it_can_be():
    """A fault inside it would turn it off, and every test of it would be left out."""
    assert wing().forms == FORMS and wing().rows is not None


def test_every_form_is_proved():
    assert set(CASES) == set(FORMS) <= set(OPERATORS)
    assert all(case.operator.name == name for name, cases in CASES.items() for case in cases)


def test_it_is_kept_and_what_is_spoilt_is_made_anew(tmp_path):
    assert float(started(tmp_path).stdout) == PRODUCTS
    (kept,) = (tmp_path / "loops").iterdir()
    whole = cache.read(kept) or b""
    # The next start asks nobody: a name it cannot know stands in for what was made.
    cache.write(kept, whole.replace(b'"work"', b'"another"'))
    assert is_off(started(tmp_path), "'work'")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert float(started(tmp_path).stdout) == PRODUCTS
    assert b'"work"' in (cache.read(kept) or b"")


def test_it_can_be_switched_off():
    done = started("", DNAS_KERNELS="0")
    assert (done.stdout, done.stderr) == ("plain\n", "")


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "file, right, wrong, says",
    [
        ("map_sums.py", "= moved * inverse, plain", "= moved, plain", "batch_norm"),
        ("row_steps.py", "vector, momentum = buffer(frame, RESULTS, 1)[0],", "vector, momentum = 8,", "SIGSEGV"),
        pytest.param("map_sums.py", "mean[i] += weight", "mean[i] += 2 * weight", "batch_norm", marks=SLOW),
        pytest.param("map_sums.py", "gate * own[i] * slope", "own[i] * slope", "activation", marks=SLOW),
        pytest.param("forms.py", "grids = mixed_kernel(", "grids = 2 * mixed_kernel(", "depthwise", marks=SLOW),
        pytest.param("forms.py", "grids = op.masked_kernel(", "grids = 2 * op.masked_kernel(", "conv", marks=SLOW),
        pytest.param("row_steps.py", "value[i] -= rate * moved", "value[i] -= moved", "row descent", marks=SLOW),
        pytest.param("row_steps.py", "[chunk] = total", "[chunk] = total / 0.0", "row descent", marks=SLOW),
        pytest.param("prove.py", "IMAGES, TOL", "import os; os.abort(); IMAGES, TOL", "SIGABRT", marks=SLOW),
    ],
)
def test_what_is_wrong_or_crashes_is_off_in_one_line(tmp_path, file, right, wrong, says):
    """In a copy of dnas with a fault."""
    shutil.copytree(Path(dnas.__file__).parent, tmp_path / "dnas", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "dnas" / "cpu" / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    done = started(tmp_path / "cache", tmp_path)
    assert is_off(done, says), done.stdout + done.stderr
    assert not (tmp_path / "cache" / "loops").exists(), "it is tried again: another may be installed"


@pytest.mark.parametrize(
    "broken, says",
    [
        ("raise ImportError('this numba is broken')", "this numba is broken"),
        ("import os; os.abort()", "SIGABRT"),
        ("class njit: pass", "numba"),
    ],
)
def test_a_broken_numba_is_off_in_one_line(tmp_path, broken, says):
    (tmp_path / "numba.py").write_text(broken + "\n")
    assert is_off(started(tmp_path / "cache", tmp_path), says)


@pytest.mark.parametrize("package, version", [("jaxlib", "0.99.1"), ("numba", "0.60.0"), ("numba", "1.0rc1")])
def test_versions_that_are_not_known_are_said(monkeypatch, capsys, package, version):
    monkeypatch.setattr(
        versions.metadata, "version", lambda name: version if name == package else versions.KNOWN[name][1]
    )
    monkeypatch.setattr(built, "_ready", lambda: pytest.fail("built"))
    assert not built.usable.__wrapped__()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{package} {version}" in said and versions.KNOWN[package][0] in said
