"""Tasks side by side in processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dnas.errors import InputError, UserError
from dnas.fanout.choose import chosen, one_after_the_other
from dnas.fanout.devices import THREADS, Devices
from dnas.fanout.processes import Processes
from dnas.fanout.run import TaskFault, fan_out
from tests.fanout.chores import task

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


def pool(count: int, cores: int = 4) -> Processes:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Processes(count, Devices("cpu", 1, cores), {n: v for n, v in environment.items() if n not in THREADS})


def test_values_come_in_the_order_of_the_tasks_whatever_ends_first():
    ended: list[tuple[int, int]] = []
    tasks = [task("doubled", number=n, seconds=0.0 if n else 1.0) for n in range(3)]
    assert fan_out(pool(3), tasks, QUIET, "doubling", lambda n, value: ended.append((n, value))) == [0, 2, 4]
    assert ended[-1] == (0, 0) and sorted(ended) == [(0, 0), (1, 2), (2, 4)]
    assert fan_out(pool(1), [], QUIET, "nothing") == []


def test_a_task_whose_process_was_killed_is_repeated_and_at_last_told_in_one_line(tmp_path):
    tasks = [task("mortal", file=str(tmp_path / "twice"), times=2), task("doubled", number=1)]
    assert fan_out(pool(2), tasks, QUIET, "work") == [3, 2]
    with pytest.raises(UserError, match="mortal: its process was lost 3 times, the last time by SIGKILL"):
        fan_out(pool(1), [task("mortal", file=str(tmp_path / "ever"), times=9)], QUIET, "work")


def test_no_file_of_the_working_directory_stands_in_for_a_module(tmp_path, monkeypatch):
    """Such as data.py, random.py or a folder of results called dnas."""
    (tmp_path / "random.py").write_text("raise RuntimeError('not the one')")
    (tmp_path / "dnas").mkdir()
    monkeypatch.chdir(tmp_path)
    assert fan_out(pool(1), [task("doubled", number=1)], QUIET, "doubling") == [2]


def test_what_a_task_says_is_told_with_its_name():
    with pytest.raises(UserError, match="^mistaken: no such image$"):
        fan_out(pool(1), [task("mistaken")], QUIET, "work")
    with pytest.raises(TaskFault, match="(?s)faulty:\nTraceback.*ValueError: this is ours"):
        fan_out(pool(1), [task("faulty")], QUIET, "work")


def test_when_one_cannot_be_done_the_others_are_asked_to_save(tmp_path):
    file = tmp_path / "long"
    with pytest.raises(UserError, match="no such image"):
        fan_out(pool(2), [task("long", file=str(file)), task("mistaken_after", file=str(file))], QUIET, "work")
    assert file.read_text() == "saved"


def test_processes_share_the_cores():
    tasks = [task("environment", names=list(THREADS))]
    assert set(fan_out(pool(2, cores=7), tasks, QUIET, "work")[0].values()) == {"3"}
    assert set(fan_out(pool(1, cores=7), tasks, QUIET, "work")[0].values()) == {None}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process_behind(tmp_path, number):
    """Those at work save and leave, also where the one that began them was killed."""
    files = [tmp_path / "one", tmp_path / "two"]
    process = begun("long", files)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert "stopped; the same command goes on" in said and process.returncode == 128 + number
    deadline = time.monotonic() + 30
    while any(file.read_text() != "saved" for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [file.read_text() for file in files] == ["saved", "saved"]


def test_a_second_signal_ends_what_does_not_stop(tmp_path):
    file = tmp_path / "one"
    process = begun("stubborn", [file])
    worker = int(file.read_text())
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def begun(name: str, files: list[Path]) -> subprocess.Popen[str]:
    """A program that has begun a task for each file."""
    program = f"""
import sys
from tests.fanout.chores import task
from tests.fanout.test_fanout import QUIET, pool
from dnas.errors import Stopped
from dnas.fanout.run import fan_out
try:
    fan_out(pool(2), [task({name!r}, file=f) for f in sys.argv[1:]], QUIET, "work")
except Stopped as stop:
    print(stop, file=sys.stderr)
    sys.exit(stop.exit_code)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, files)], stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("count", "where", "said"), [
    (0, "processes", "--workers: out of range"), (257, "processes", "--workers: out of range"),
    (1, "slurm", "--fanout: unknown (found 'slurm'; accepted: processes, ray, HOST:PORT"),
])  # fmt: skip
def test_what_cannot_be_chosen_is_refused(count, where, said):
    with pytest.raises(InputError) as error:
        chosen(count, where)
    assert said in str(error.value)


@pytest.mark.parametrize("begin", [lambda: chosen(1), one_after_the_other])
def test_tasks_have_the_devices_that_the_command_leaves_to_them(monkeypatch, begin):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = fan_out(begin(), [task("environment", names=["JAX_PLATFORMS"])], QUIET, "work")
    assert found == [{"JAX_PLATFORMS": None}] and os.environ["JAX_PLATFORMS"] == "cpu"


def test_a_task_that_begins_anew_goes_on_once_its_process_was_lost(tmp_path):
    """`--overwrite` must not throw away what a lost process had saved."""
    first = task("mortal", file=str(tmp_path / "one"), times=1)
    then = {"file": str(tmp_path / "two"), "times": 0}
    assert fan_out(pool(1), [replace(first, again=then)], QUIET, "work") == [1]
