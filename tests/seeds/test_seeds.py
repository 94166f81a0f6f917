"""`--seeds` as a user runs it, on a small network and small data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnas.cli import search, train
from dnas.cli.argument_class import words
from dnas.cli.entry import call, parse
from tests.compare.conftest import Home

ROOT = Path(__file__).parents[2]
RESULT = ("seeds.json", "seeds.md")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("seeds"))


def said(home: Home, out: Path, *more: str) -> list[str]:
    """Of a command line."""
    fixed = ["--data", str(home.data), "--recipe", str(home.recipe), "--init", "scratch"]
    return [str(home.network), *fixed, "--out", str(out), *more]


def trained(home: Home, out: Path, *more: str) -> int:
    return call(train.main, parse(train.Arguments, said(home, out, *more)))


def written(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in RESULT}


def when(out: Path) -> dict[str, int]:
    """When each run was written."""
    return {f.parent.name: f.stat().st_mtime_ns for f in out.glob("seeds/*/provenance.json")}


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory) -> Path:
    """The folder of three uninterrupted trainings."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert trained(home, out, "--seed", "4", "--seeds", "3") == 0
    return out


@pytest.mark.slow
def test_each_seed_is_a_run_of_its_own_and_the_table_follows_from_them(whole, home, tmp_path):
    document = json.loads((whole / "seeds.json").read_text())
    assert document["seeds"] == [4, 5, 6] and document["different_networks"] == 1
    for run in document["runs"]:
        own = json.loads((whole / run["folder"] / "architecture.json").read_text())
        assert own["training"]["seed"] == run["seed"]
        assert own["training"]["accuracy"]["test"] == run["figures"]["test"]
        assert own["costs"]["macs"] == run["figures"]["macs"]
    alone = tmp_path / "alone"
    assert trained(home, alone, "--seed", "5") == 0
    file = "weights.safetensors"
    assert (alone / file).read_bytes() == (whole / "seeds" / "5" / file).read_bytes()
    best = max(document["runs"], key=lambda run: (run["figures"]["validation"], -run["seed"]))
    assert document["take"]["seed"] == best["seed"]


@pytest.mark.slow
def test_the_same_command_again_runs_nothing_and_more_seeds_go_on(whole, home, tmp_path):
    before, times = written(whole), when(whole)
    assert trained(home, whole, "--seed", "4", "--seeds", "3") == 0
    assert written(whole) == before and when(whole) == times
    out = tmp_path / "more"
    shutil.copytree(whole, out)
    times = when(out)
    assert trained(home, out, "--seed", "4", "--seeds", "4") == 0
    assert set(when(out)) == {"4", "5", "6", "7"} and all(when(out)[name] == then for name, then in times.items())


@pytest.mark.slow
def test_another_recipe_is_refused_and_replaces_all_when_asked_to(whole, home, tmp_path, capsys):
    out = tmp_path / "other"
    shutil.copytree(whole, out)
    assert trained(home, out, "--seed", "4", "--seeds", "2", "--epochs", "1") == 2
    assert "holds the result of another run" in capsys.readouterr().err
    assert trained(home, out, "--seed", "4", "--seeds", "2", "--epochs", "1", "--overwrite") == 0
    assert set(when(out)) == {"4", "5"} and written(out) != written(whole)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["a worker", "the command", "the command, softly"])
def test_killed_it_gives_the_same_table(whole, home, tmp_path, victim):
    """A worker's run is repeated at once; a command that was killed goes on when it is called again."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "dnas.train", *said(home, out, "--seed", "4", "--seeds", "3")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and not (out / "seeds" / "5" / "run.json").is_file():
        time.sleep(0.02)
    assert process.poll() is None
    if victim == "a worker":
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        process.communicate()
        assert process.returncode == 0
    else:
        process.send_signal(signal.SIGTERM if "softly" in victim else signal.SIGKILL)
        told = process.communicate()[1]
        assert ("the same command goes on" in told) == ("softly" in victim)
        time.sleep(3)  # those left behind leave as well
        first = when(out)
        assert "4" in first and "6" not in first
        assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 0
        assert all(when(out)[name] == then for name, then in first.items())
    assert written(out) == written(whole)


@pytest.mark.slow
def test_searches_have_their_costs_beside_their_accuracies(home, tmp_path):
    out = tmp_path / "searched"
    line = [str(home.space), "--budget", "30kMACs", "--preset", "smoke", "--data", str(home.data), "--seeds", "2"]
    line += ["--epochs", "2", "--batch-size", "8"]  # enough steps for a race
    assert call(search.main, parse(search.Arguments, [*line, "--out", str(out)])) == 0
    document = json.loads((out / "seeds.json").read_text())
    for run in document["runs"]:
        own = json.loads((out / run["folder"] / "architecture.json").read_text())
        assert own["search"]["seed"] == run["seed"] and own["costs"]["macs"] == run["figures"]["macs"] <= 30_000
        won = next(c for c in own["search"]["race"]["candidates"] if c["won"])
        assert run["figures"]["validation"] == won["accuracy"][-1]


def test_the_command_line_of_a_run_gives_the_same_arguments():
    given = ["tiny", "--budget", "1MFLOPs", "--budget", "2Mparams", "--epochs", "0.5", "--distill", "--out", "a b"]
    args = parse(search.Arguments, given)
    assert parse(search.Arguments, words(args)) == args
    assert words(args, ("out", "budget")) == ["tiny", "--epochs", "0.5", "--distill"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--seeds", "0"), "--seeds: out of range (found 0; accepted: 1 to 1000)"),
        (("--seeds", "2", "--seed", "-1"), "--seed: out of range"),
        (("--seeds", "2", "--workers", "0"), "--workers: out of range"),
        (("--workers", "2"), "--workers: only with --seeds (found 2)"),
        (("--seeds", "2", "--fanout", "slurm"), "--fanout: unknown (found 'slurm'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(home, tmp_path, capsys, more, line):
    assert trained(home, tmp_path / "out", *more) == 2
    told = capsys.readouterr().err
    assert line in told and told.count("\n") == 1 and not (tmp_path / "out").exists()


def test_workers_of_a_search_need_seeds_or_joint(capsys):
    assert call(search.main, parse(search.Arguments, ["tiny", "--workers", "2"])) == 2
    assert "--workers: only of --strategy joint or with --seeds (found 2)" in capsys.readouterr().err
