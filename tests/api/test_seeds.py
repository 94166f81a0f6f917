"""`dnas.run_seeds`: the runs that the commands give with each seed, their mean and spread."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dnas
from tests.api.small import NETWORK, SETTINGS, SPACE, arrays

ROOT = Path(__file__).parents[2]
TRAINING = {"batch_size": 16, "epochs": 2, "lr": 0.1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("seeds") / "out"
    return dnas.run_seeds(dnas.run_training, NETWORK, data=arrays(), seeds=3, seed=4, out=out, quiet=True, **TRAINING)


def weights(folder) -> bytes:
    return (Path(folder) / "weights.safetensors").read_bytes()


@pytest.mark.slow
def test_each_run_is_that_of_the_command_and_the_figures_follow_from_them(trained, tmp_path):
    assert list(trained.runs) == [4, 5, 6] and all(isinstance(r, dnas.TrainingResult) for r in trained.runs.values())
    own = [run.accuracy["test"] for run in trained.runs.values()]
    assert trained.mean["test"] == pytest.approx(statistics.mean(own), abs=1e-6)
    assert trained.deviation["test"] == pytest.approx(statistics.stdev(own), abs=1e-6)
    assert trained.error["test"] == pytest.approx(statistics.stdev(own) / 3**0.5, abs=1e-6)
    assert trained.mean["macs"] == trained.runs[4].architecture.costs["macs"] and trained.deviation["macs"] == 0
    best = max(trained.runs.values(), key=lambda run: run.accuracy["validation"])
    assert trained.best.accuracy["validation"] == best.accuracy["validation"]
    assert weights(trained.runs[4]) != weights(trained.runs[5])
    np.savez(tmp_path / "data.npz", **arrays())
    network = dnas.load(NETWORK).document.data
    (tmp_path / "plain.json").write_text(json.dumps(network))
    words = [str(tmp_path / "plain.json"), "--data", str(tmp_path / "data.npz"), "--seed", "5", "--out", "alone"]
    words += [word for name, value in TRAINING.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "dnas.train", *words], cwd=tmp_path, env=environment, check=True)
    assert weights(tmp_path / "alone") == weights(trained.runs[5])


@pytest.mark.slow
def test_the_same_call_runs_nothing_more_seeds_go_on_and_another_call_is_refused(trained, capfd):
    def when() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in trained.folder.glob("seeds/*/provenance.json")}

    def again(**options):
        options = {"data": arrays(), "seed": 4, "out": trained.folder} | TRAINING | options
        return dnas.run_seeds(dnas.run_training, NETWORK, **options)

    before = when()
    same = again(seeds=3)
    assert when() == before and same.record == trained.record
    told = capfd.readouterr().out
    assert "seeds 4 to 6" in told and "take seeds/" in told and "next:" not in told
    four = again(seeds=4, quiet=True)
    assert list(four.runs) == [4, 5, 6, 7] and before.items() <= when().items()
    with pytest.raises(dnas.UserError, match="holds the result of another run"):
        again(seeds=4, epochs=1, quiet=True)


@pytest.mark.slow
def test_a_search_of_a_temporary_folder_lasts_as_long_as_one_of_its_runs():
    given = {"data": arrays(), "budgets": "4kMACs", "preset": "smoke", "quiet": True}
    found = dnas.run_seeds(dnas.run_search, dnas.load(SPACE), seeds=2, **given, **SETTINGS)
    assert [run.document["search"]["seed"] for run in found.runs.values()] == [0, 1]
    assert found.mean["macs"] <= 4000 and "SeedsResult small, 2 seeds: mean macs" in repr(found)
    trained = dnas.run_training(found.best or found.runs[0], data=arrays(), quiet=True, **TRAINING)
    assert 0 <= trained.accuracy["test"] <= 1
    run, folder = found.runs[1], found.folder
    del found
    gc.collect()
    assert run.history["loss"] and folder.exists()
    del run
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        (dnas.run_search, {"seeds": 0}, "--seeds: out of range"),
        (dnas.run_search, {"workers": 0}, "--workers: out of range"),
        (dnas.run_search, {"resume": True}, "resume: not of run_seeds, which always goes on"),
        (dnas.run_search, {"terms": [object()]}, "terms: not handed to another process .*object"),
        (dnas.open_run, {}, "function: not run with seeds .*open_run.*accepted: dnas.run_search, dnas.run_training"),
        (dnas.run_search, {"budgets": "1MACs"}, "out of reach"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, function, given, said):
    out = tmp_path / "out"
    with pytest.raises(dnas.UserError, match=said):
        dnas.run_seeds(function, SPACE, **{"data": arrays(), "out": out, "budgets": "4kMACs", "quiet": True, **given})
    assert not out.exists()


def test_unknown_arguments_are_those_of_the_function():
    with pytest.raises(TypeError, match="missing a required argument"):
        dnas.run_seeds(dnas.run_search)


def test_each_process_is_given_what_was_loaded(tmp_path, monkeypatch):
    """Its classes, and the file beside which an architecture has its weights."""
    given: list[dict] = []

    def noted(of, *_rest):
        given.append(of.task(0, "seeds/0", False).arguments["given"])

    monkeypatch.setattr("dnas.api.seeds.run", noted)
    file = tmp_path / "architecture.json"
    file.write_text(json.dumps(NETWORK))
    for loaded in (dnas.load(SPACE, classes=7), dnas.load("tiny", classes=7), dnas.load("tiny")):
        dnas.run_seeds(dnas.run_search, loaded, seeds=1, budgets="1MFLOPs", quiet=True)
        assert dnas.load(given[-1]["space"]).classes == loaded.classes
    dnas.run_seeds(dnas.run_training, dnas.load(tmp_path), seeds=1, quiet=True)
    assert given[-1]["architecture"] == str(file)


def test_arrays_are_a_whole_file_or_none(tmp_path, monkeypatch):
    """Else every later call with them would find a file that is cut short."""

    def stopped(handle, **_arrays):
        handle.write(b"half of")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        dnas.run_seeds(dnas.run_training, NETWORK, data=arrays(), seeds=1, out=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("*.npz")) and not list(tmp_path.rglob(".arrays*"))
