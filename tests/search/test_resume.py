"""A search that is killed and continued ends in the same bytes as one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.search import Arguments, main
from dnas.errors import InputError
from dnas.learning.journal import Journal

SPACE = """
name: short
input: {channels: 1, classes: 10, resolution: {choices: [8, 12]}}
trunk:
  - conv: {out: 8, stride: 2, kernel: 3, act: relu}
  - mbconv: {out: {range: [8, 16, 4]}, hidden: 16, kernel: {choices: [3, 5]}}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
RESULT = ("architecture.json", "weights.safetensors", "history.jsonl", "preprocessor_config.json")


def command(space: Path, out: Path, *more: str) -> list[str]:
    options = ["--budget", "0.03MFLOPs", "--epochs", "3", "--side", "12", "--checkpoint-every", "0", "--out", str(out)]
    return [sys.executable, "-m", "dnas.search", str(space), *options, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Path, dict[str, str]]:
    """The space's file, the folder of an uninterrupted run, and the environment that it ran in."""
    home = tmp_path_factory.mktemp("resume")
    space = home / "short.yaml"
    space.write_text(SPACE)
    env = os.environ | {"DNAS_CACHE": str(home / "cache")}
    subprocess.run(command(space, home / "whole"), check=True, env=env, capture_output=True)
    return space, home / "whole", env


def killed_at(space: Path, out: Path, env: dict[str, str], wait_s: float, number: int) -> bool:
    """Continues the run and sends it a signal `wait_s` after its first new row; whether it was still running."""
    partial = out / "history.partial.jsonl"
    before = partial.read_bytes() if partial.is_file() else b""
    process = subprocess.Popen(
        command(space, out, "--resume"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and (not partial.is_file() or partial.read_bytes() == before):
        time.sleep(0.01)
    time.sleep(wait_s)
    process.send_signal(number)
    said = process.communicate()[1]
    if process.returncode == -signal.SIGKILL:
        return True
    if process.returncode == 128 + signal.SIGTERM:
        assert "--resume goes on" in said and len(said.strip().splitlines()) == 1, said
        return True
    assert process.returncode == 0, said
    return False


@pytest.mark.slow
def test_twenty_kills_change_nothing(whole, tmp_path):
    """One run killed again and again, and begun anew when it got to its end, until it was killed twenty times."""
    space, reference, env = whole
    chance, kills, runs = random.Random(0), 0, 0
    while kills < 20:
        out = tmp_path / f"run{runs}"
        runs += 1
        while kills < 20 and killed_at(space, out, env, chance.uniform(0, 1.2), signal.SIGKILL):
            kills += 1
        subprocess.run(command(space, out, "--resume"), check=True, env=env, capture_output=True)
        for name in RESULT:
            assert (out / name).read_bytes() == (reference / name).read_bytes(), (name, kills)
        assert not (out / "checkpoints").exists() and not (out / "history.partial.jsonl").exists()


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(whole, tmp_path):
    space, reference, env = whole
    assert killed_at(space, tmp_path / "run", env, 0.1, signal.SIGTERM)
    subprocess.run(command(space, tmp_path / "run", "--resume"), check=True, env=env, capture_output=True)
    for name in RESULT:
        assert (tmp_path / "run" / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.slow
def test_what_would_alter_the_result_is_named_and_refused(whole, tmp_path):
    space, _, env = whole
    out = tmp_path / "run"
    assert killed_at(space, out, env, 0.0, signal.SIGKILL)
    process = subprocess.run(
        command(space, out, "--resume", "--seed", "7"), env=env, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    (line,) = process.stderr.strip().splitlines()
    assert "seed was 0, is 7" in line and "--force" in line


@pytest.mark.slow
def test_a_finished_run_is_not_searched_again(whole):
    space, reference, env = whole
    before = {name: (reference / name).stat().st_mtime_ns for name in RESULT}
    said = subprocess.run(
        command(space, reference, "--resume"), env=env, capture_output=True, text=True, check=True
    ).stdout
    assert "already" in said and before == {name: (reference / name).stat().st_mtime_ns for name in RESULT}


def test_a_rerun_leaves_the_former_result_until_it_has_its_own(tmp_path, monkeypatch):
    space = tmp_path / "short.yaml"
    space.write_text(SPACE)
    argv = ["--budget", "0.03MFLOPs", "--preset", "smoke", "--side", "12", "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, [str(space), *argv])) == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in RESULT}

    def full(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dnas.search.run.write", full)
    assert call(main, parse(Arguments, [str(space), *argv, "--seed", "1", "--overwrite"])) == 130
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in RESULT}
    rows = (tmp_path / "out" / "history.partial.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["phase"] == "settle"


@pytest.mark.slow
def test_sigterm_inside_the_compiler(whole, tmp_path):
    """It cannot be interrupted, and must not take the process down with a message of its own."""
    argv = [sys.executable, "-m", "dnas.search", "fbnetv2", "--budget", "200MFLOPs", "--preset", "smoke"]
    run = subprocess.Popen(
        [*argv, "--out", str(tmp_path / "run")], env=whole[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    while not run.stdout.readline().startswith("compiling"):
        pass
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=300)[1]
    assert run.returncode == 128 + signal.SIGTERM
    assert said.startswith("stopped while compiling") and len(said.strip().splitlines()) == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("call_number", [1, 3], ids=["derived network", "network found"])
def test_a_signal_does_not_wait_for_an_evaluation(call_number, tmp_path, monkeypatch, capsys):
    """Evaluations take minutes on large spaces; they change nothing, so the run is left within them."""
    from dnas.search.strategies import dmasking

    space = tmp_path / "short.yaml"
    space.write_text(SPACE)
    argv = [str(space), "--budget", "0.03MFLOPs", "--preset", "smoke", "--epochs", "0.3", "--side", "12", "--out"]
    assert call(main, parse(Arguments, [*argv, str(tmp_path / "whole")])) == 0
    original, calls = dmasking.assessed, []

    def assessed(*arguments):
        calls.append(1)
        if len(calls) == call_number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(dmasking, "assessed", assessed)
    capsys.readouterr()
    assert call(main, parse(Arguments, [*argv, str(tmp_path / "part")])) == 143
    assert len(calls) == call_number
    said = capsys.readouterr().err
    assert "--resume goes on" in said and len(said.strip().splitlines()) == 1
    monkeypatch.undo()
    assert call(main, parse(Arguments, [*argv, str(tmp_path / "part"), "--resume"])) == 0
    assert "continued after step" in capsys.readouterr().out
    for name in RESULT:
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_value_is_written_alike_before_a_checkpoint_and_after_it():
    """A boolean was written as 0.0 by an uninterrupted run, and as false after a resume."""
    journal = Journal(None, {})
    for value in (np.bool_(False), np.int32(7), np.float32(0.1234567891), np.array([1.5, 2.25], np.float32)):
        restored = json.loads(json.dumps(np.asarray(value).tolist()))
        journal.note({"step": 1, "value": value})
        journal.note({"step": 1, "value": restored})
        assert journal.rows[-1] == journal.rows[-2]


@pytest.mark.slow
def test_a_result_that_cannot_be_read_back_is_not_said_to_be_written_and_not_lost(tmp_path, monkeypatch, capsys):
    space = tmp_path / "short.yaml"
    space.write_text(SPACE)
    out = tmp_path / "out"
    argv = [str(space), "--budget", "0.03MFLOPs", "--preset", "smoke", "--side", "12", "--out", str(out)]

    def unreadable(folder: Path) -> None:
        raise InputError(str(folder / "architecture.json"), "cannot be read")

    monkeypatch.setattr("dnas.search.run.check", unreadable)
    assert call(main, parse(Arguments, argv)) == 2
    said = capsys.readouterr()
    assert "cannot be read; the same command with --resume tries again" in said.err and "written to" not in said.out
    assert not (out / "architecture.json").exists() and any((out / "checkpoints").iterdir())
    monkeypatch.undo()
    assert call(main, parse(Arguments, [*argv, "--resume"])) == 0
    assert {*RESULT, "provenance.json"} == {path.name for path in out.iterdir()}
