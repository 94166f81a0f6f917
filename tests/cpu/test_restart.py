"""Memory that a command keeps from step to step, and which commands are started anew for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from dnas.cpu import restart
from dnas.cpu.restart import LASTING_TUNABLES, is_a_command, memory_tunables

STEPS = """
import resource
import jax, jax.numpy as jnp

def step(x, w):
    maps = [x]
    for _ in range(8):
        maps.append(jnp.tanh(maps[-1] @ w))
    return sum((a * jnp.cos(b)).sum() for a, b in zip(maps, maps[::-1]))

x, w = jnp.ones((20_000, 128)), jnp.ones((128, 128))
compiled = jax.jit(step).lower(x, w).compile()
assert compiled.memory_analysis().temp_size_in_bytes > 40e6  # more than glibc ever takes from a heap by itself
given = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    compiled(x, w).block_until_ready()
    given.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(given[1:]))
"""


def faults(tunables: str) -> int:
    """Pages that had to be given to the process in the step that needed the fewest, of those after the first.

    The fewest, since a result may be ready before the memory of its step is free again: the next step may then take
    some beside it, which the steps after have.
    """
    run = subprocess.run(
        [sys.executable, "-c", STEPS], env=os.environ | {"GLIBC_TUNABLES": tunables}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_a_step_takes_its_memory_once(monkeypatch):
    monkeypatch.setenv("DNAS_HUGE_PAGES", "0")
    monkeypatch.setenv("DNAS_LASTING_MEMORY", "1")
    assert faults("glibc.malloc.hugetlb=0") > 5_000
    assert faults(memory_tunables("glibc.malloc.hugetlb=0")) < 100


def test_what_the_user_has_set_wins(monkeypatch):
    monkeypatch.setenv("DNAS_HUGE_PAGES", "0")
    monkeypatch.setenv("DNAS_LASTING_MEMORY", "1")
    theirs = "glibc.malloc.mmap_max=7:glibc.malloc.check=1"
    found = memory_tunables(theirs)
    assert found.startswith(theirs + ":") and found.count("mmap_max") == 1
    assert all(f"{name}=" in found for name in LASTING_TUNABLES)
    assert memory_tunables(found) == found, "a command starts itself anew once"
    monkeypatch.setenv("DNAS_LASTING_MEMORY", "0")
    assert memory_tunables(theirs) == theirs


@pytest.mark.parametrize("free, kept", [((4 << 30) - 1, False), (4 << 30, True), (None, True)])
def test_memory_is_kept_where_there_is_room(free, kept, monkeypatch):
    """A training that needs 0.9 GB was killed under a limit of 1 GB: with memory kept it took 1.7."""
    monkeypatch.delenv("DNAS_LASTING_MEMORY", raising=False)
    monkeypatch.setattr(restart.free_memory, "of_machine", lambda: free)
    assert ("arena_max" in memory_tunables("")) == kept
    for asked in (False, True):
        monkeypatch.setenv("DNAS_LASTING_MEMORY", str(int(asked)))
        assert ("arena_max" in memory_tunables("")) == asked


def test_only_a_start_that_can_be_repeated_is():
    given = ["/lib/dnas/search/__main__.py", "tiny", "--seed", "1"]
    command = ["python", "-X", "utf8", "-m", "dnas.search", *given[1:]]
    assert is_a_command(command, given)
    assert is_a_command([__file__, "-m", "dnas.train"], ["train"])
    for other in (
        ["python", "-"], ["python"], ["python", "-", *given[1:]], ["python", "-c", "import dnas", *given[1:]],
        ["python", __file__, *given[1:]], ["python", "-m", "pytest", *given[1:]], ["jupyter", "-f", "kernel.json"],
    ):  # fmt: skip
        assert not is_a_command(other, given), other


def test_a_console_script_can_be_started_again(tmp_path):
    script = tmp_path / "dnas"
    script.touch()
    assert is_a_command(["python", str(script), "search", "tiny"], [str(script), "search", "tiny"])


def test_a_system_that_refuses_the_restart_is_no_error(monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execv", refused)
    monkeypatch.setattr(restart.versions, "glibc", lambda: "2.36")
    monkeypatch.setattr(restart, "is_a_command", lambda *_: True)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv("DNAS_LASTING_MEMORY", raising=False)
    restart.with_lasting_memory()
    assert "GLIBC_TUNABLES" not in os.environ


def test_an_unknown_c_library_is_left_alone_and_said(monkeypatch, capsys):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started anew"))
    monkeypatch.setattr(restart, "is_a_command", lambda *_: True)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    for version, says in (("3.1", "glibc 3.1"), ("", "")):
        monkeypatch.setattr(restart.versions, "glibc", lambda version=version: version)
        restart.with_lasting_memory()
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == bool(says)
