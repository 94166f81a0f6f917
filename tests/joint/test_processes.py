"""Trainings side by side, with a short script in the place of a training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dnas.errors import UserError
from dnas.joint import processes
from dnas.joint.processes import Devices, Workers

SCRIPT = """
import os, pathlib, signal, sys
file = pathlib.Path(sys.argv[1])
tries = int(file.read_text()) if file.exists() else 0
file.write_text(str(tries + 1))
if "killed" in file.name and tries < int(file.name[-1]):
    os.kill(os.getpid(), signal.SIGKILL)
if "bad" in file.name:
    sys.exit("first line\\nno such image")
"""


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(processes, "COMMAND", ("-c", SCRIPT))
    return lambda count: Workers(count, Devices("cpu", 1), dict(os.environ))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_job_runs_once_however_many_at_a_time(workers, tmp_path, count):
    jobs, ended = [tmp_path / f"job{n}" for n in range(3)], []
    workers(count).run(jobs, ended.append)
    assert sorted(ended) == jobs and all(job.read_text() == "1" for job in jobs)
    workers(count).run([], ended.append)
    assert len(ended) == 3


def test_one_that_was_killed_is_repeated(workers, tmp_path):
    ended: list[Path] = []
    workers(2).run([tmp_path / "killed2", tmp_path / "other"], ended.append)
    assert (tmp_path / "killed2").read_text() == "3" and len(ended) == 2
    with pytest.raises(UserError, match="a training failed: it ended with exit code -9"):
        workers(1).run([tmp_path / "killed9"], ended.append)


def test_what_a_training_says_is_told_with_its_folder(workers, tmp_path):
    with pytest.raises(UserError, match=r"a training failed: no such image \(.*bad\)"):
        workers(1).run([tmp_path / "bad"], lambda folder: None)


def test_each_process_has_a_device_of_its_own():
    pair = Devices("gpu", 2)
    assert [pair.environment(n, 2, {})["CUDA_VISIBLE_DEVICES"] for n in range(2)] == ["0", "1"]
    own = {"CUDA_VISIBLE_DEVICES": "4,7"}
    shared = [pair.environment(n, 4, own) for n in range(4)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in shared] == ["4", "7", "4", "7"]
    assert shared[0]["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    assert Devices("cpu", 1).environment(1, 2, {"A": "b"}) == {"A": "b"}
