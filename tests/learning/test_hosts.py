"""One run in two processes that meet on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnas.errors import InputError
from dnas.process import hosts
from dnas.process.hosts import Hosts

ROOT = Path(__file__).parents[2]
SPACE = """
name: short
input: {channels: 1, classes: 10, resolution: 12}
trunk:
  - conv: {out: 8, stride: 2, kernel: 3, act: relu}
  - conv: {out: {range: [8, 16, 4]}, kernel: 1, act: relu}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
SEARCH = ["dnas.search", "SPACE", "--budget", "0.02MFLOPs", "--preset", "smoke", "--epochs", "0.5", "--side", "12"]
TRAINING = ["dnas.train", "SEARCHED", "--epochs", "1", "--batch-size", "32"]


def started(home: Path, out: Path, command: list[str], *more: str) -> list[subprocess.Popen]:
    """Both processes of a run, the first one first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = f"127.0.0.1:{free.getsockname()[1]}"
    named = {"SPACE": str(home / "short.yaml"), "SEARCHED": str(home / "search")}
    words = [sys.executable, "-m", *(named.get(word, word) for word in command), "--out", str(out), *more]
    words += ["--checkpoint-every", "0", "--coordinator", meet, "--processes", "2", "--process"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "DNAS_KERNELS": "0", "DNAS_CACHE": str(home / "cache")}
    return [
        subprocess.Popen([*words, str(n)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]


def saved(run: list[subprocess.Popen], out: Path) -> None:
    """Returns when the run has a whole checkpoint."""
    while not any(path.name.isdigit() for path in (out / "checkpoints").glob("*")):
        assert run[0].poll() is None, run[0].communicate()
        time.sleep(0.01)


def ended(run: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, standard output and errors of each."""
    said = [process.communicate(timeout=400) for process in run]
    return [(process.returncode, *texts) for process, texts in zip(run, said, strict=True)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the space and a search of it that nothing has broken."""
    home = tmp_path_factory.mktemp("hosts")
    (home / "short.yaml").write_text(SPACE)
    (first, second) = ended(started(home, home / "search", SEARCH))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "2 devices, cpu" in first[1] and "dnas.train" in first[1]
    assert all(line.startswith("[Gloo]") for line in second[1].splitlines()), second[1]  # a library's own
    return home


@pytest.mark.slow
@pytest.mark.parametrize("command", [SEARCH, TRAINING], ids=["search", "training"])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_that_lost_a_process_goes_on_to_the_same_bytes(home, tmp_path, command, lost):
    whole = home / "search"
    if command is TRAINING:
        whole = home / "training"
        if not whole.exists():
            assert [code for code, *_ in ended(started(home, whole, TRAINING))] == [0, 0]
    out = tmp_path / "run"
    run = started(home, out, command)
    saved(run, out)
    run[lost].send_signal(signal.SIGKILL)
    code, _, said = ended(run)[1 - lost]
    assert code == 2 and said.splitlines()[-1] == f"error: {hosts.LOST}", said
    assert [line for line in said.splitlines() if not line.startswith("note:")][1:] == []
    resumed = ended(started(home, out, command, "--resume"))
    assert [code for code, *_ in resumed] == [0, 0], resumed
    assert "continued after step" in resumed[0][1]
    for name in ("architecture.json", "weights.safetensors", "history.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_a_signal_to_all_saves_once_and_ends_all(home, tmp_path):
    out = tmp_path / "run"
    run = started(home, out, SEARCH)
    saved(run, out)
    for process in run:
        process.send_signal(signal.SIGTERM)
    (first, _, said), (second, *_) = ended(run)
    assert (first, second) == (143, 143) and "--resume goes on" in said


@pytest.mark.parametrize(
    "given, said",
    [
        (("host", 2, 0), "--coordinator: no address"),
        (("host:1", None, 0), "--coordinator: how many processes"),
        (("host:1", 2, 2), "--process: out of range"),
        ((None, 2, 0), "--processes, --process: nothing says where they meet"),
        (("auto", 2, 0), "--processes, --process: nothing says where they meet"),
    ],
)
def test_a_meeting_that_cannot_be_is_one_line(given, said):
    with pytest.raises(InputError, match=said):
        Hosts(*given)


def test_one_process_agrees_with_itself():
    value = {"step": 3, "rows": ["a"]}
    assert hosts.agreed(value) is value and not hosts.several() and not hosts.follows()
