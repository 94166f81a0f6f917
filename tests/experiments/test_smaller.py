"""The study of smaller networks: each command finds what the ones before it made, and nothing runs twice."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "experiments" / "smaller" / "run.py"


@pytest.fixture
def study(monkeypatch):
    spec = importlib.util.spec_from_file_location("experiments_smaller", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(study, monkeypatch):
    """What was run, in order; a result with costs and an accuracy lies where each command was told to leave one."""
    ran = []

    def made(argv, check):
        ran.append(argv[2:])
        folder = Path(argv[argv.index("--out") + 1])
        folder.mkdir(parents=True)
        document = {"costs": {"macs": 1e6, "params": 1000}, "training": {"accuracy": {"test": 0.9 - 0.01 * len(ran)}}}
        (folder / "architecture.json").write_text(json.dumps(document))

    monkeypatch.setattr(study.subprocess, "run", made)
    return ran


def arguments(study, tmp_path, **more):
    return study.Arguments(tmp_path, runs=tmp_path / "runs", out=tmp_path / "smaller.json", **more)


def test_a_budget_follows_from_the_network_that_was_just_trained(study, commands, tmp_path):
    study.main(arguments(study, tmp_path, seeds=(0,)))
    (slimming,) = [c for c in commands if "patch_slimming" in c]
    assert commands[0][0] == "dnas.train"
    assert slimming[slimming.index("--budget") + 1] == "600000FLOPs"


def test_a_second_call_runs_nothing_and_makes_the_same_table(study, commands, tmp_path):
    study.main(arguments(study, tmp_path, seeds=(0, 1)))
    count, first = len(commands), (tmp_path / "smaller.json").read_bytes()
    study.main(arguments(study, tmp_path, seeds=(0, 1)))
    assert len(commands) == count == 2 * 13
    assert (tmp_path / "smaller.json").read_bytes() == first


def test_the_table_has_points_lost_against_the_same_seeds_base(study, commands, tmp_path):
    study.main(arguments(study, tmp_path, seeds=(0, 1), only=("PTQ, 8 bits",)))
    base, quantised = json.loads((tmp_path / "smaller.json").read_text())
    assert (base["lost"], quantised["way"]) == (0, "PTQ, 8 bits")
    assert quantised["lost"] == pytest.approx(1) and quantised["error"] == pytest.approx(0, abs=1e-9)
