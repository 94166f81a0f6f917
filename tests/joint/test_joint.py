"""`--strategy joint` as a user runs it, on a small space and small data."""

from __future__ import annotations

import json
import os
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

SPACE = """
name: short
input: {channels: 1, classes: 3, resolution: 8}
trunk: [{conv: {out: {range: [4, 12, 2]}, stride: 2, kernel: {choices: [3, 5]}}}]
head: [{pool: {}}, {linear: {out: $classes}}]
"""
RECIPE = "recipe: {epochs: 2, batch_size: 16, validation: 0.2, lr: {log_range: [0.01, 0.3, 4]}}\n"
RESULT = ("architecture.json", "recipe.yaml", "joint.json", "joint.md", "history.jsonl")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a space, its recipes and data."""
    path = tmp_path_factory.mktemp("joint")
    (path / "short.yaml").write_text(SPACE + RECIPE)
    labels = np.repeat(np.arange(3), 20)
    images = (np.random.default_rng(0).integers(0, 90, (60, 8, 8)) + 50 * labels[:, None, None]).astype(np.uint8)
    names = {"train_images": images, "train_labels": labels, "test_images": images[::2], "test_labels": labels[::2]}
    np.savez(path / "data.npz", **names)
    return path


def words(home: Path, out: Path, *more: str, space: str = "short.yaml") -> list[str]:
    fixed = ["--strategy", "joint", "--data", str(home / "data.npz"), "--trainings", "4", "--rounds", "1"]
    return [str(home / space), *fixed, "--out", str(out), *more]


def searched(home: Path, out: Path, *more: str, space: str = "short.yaml") -> int:
    return call(main, parse(Arguments, words(home, out, *more, space=space)))


def written(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in RESULT}


def trained(out: Path) -> dict[str, int]:
    """When each training was written."""
    return {f.parent.name: f.stat().st_mtime_ns for f in out.glob("trainings/*/provenance.json")}


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory) -> Path:
    """The folder of an uninterrupted search."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert searched(home, out, "--budget", "4kMACs") == 0
    return out


@pytest.mark.slow
def test_the_result_is_a_trained_network_and_its_recipe(whole):
    from dnas.train.recipe import read_recipe

    document = json.loads((whole / "architecture.json").read_text())
    record = json.loads((whole / "joint.json").read_text())
    best = record["members"][0]
    assert best["budgets"][0]["cost"] <= 4000 and document["costs"]["macs"] == best["budgets"][0]["cost"]
    assert document["training"]["found"]["strategy"] == "joint"
    recipe = read_recipe(whole / "recipe.yaml").fixed()
    assert recipe.lr == best["taken"]["recipe.lr"] and recipe.to_json() == document["training"]["recipe"]
    assert len(record["trained"]) == 3 and len(trained(whole)) <= 4
    for one in record["trained"]:
        assert json.loads((whole / one["folder"] / "architecture.json").read_text())["training"]["seed"] == 0
    assert {field["name"] for field in record["fields"]} == {"trunk.0.out", "trunk.0.kernel", "recipe.lr"}
    assert "| 4kMACs |" in (whole / "joint.md").read_text()


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(whole, home):
    before, times = written(whole), trained(whole)
    assert searched(home, whole, "--budget", "4kMACs") == 0
    assert written(whole) == before and trained(whole) == times


@pytest.mark.slow
def test_another_budget_trains_its_winner_alone_and_loses_nothing(whole, home, tmp_path, capsys):
    import shutil

    out = tmp_path / "more"
    shutil.copytree(whole, out)
    before = trained(out)
    assert searched(home, out, "--budget", "2kMACs") == 0
    assert "the predictor begins with 3 trainings" in capsys.readouterr().out
    after = trained(out)
    assert len(after) <= len(before) + 1 and all(after[name] == then for name, then in before.items())
    record = json.loads((out / "joint.json").read_text())
    assert [m["budgets"][0]["budget"] for m in record["members"]] == ["2kMACs", "4kMACs"]
    assert record["members"][0]["budgets"][0]["cost"] <= 2000
    assert {f.name for f in (out / "family").iterdir()} == {f"{n}kMACs.{e}" for n in (2, 4) for e in ("json", "yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_and_started_again_it_gives_the_same(whole, home, tmp_path, number):
    """Two trainings at a time, which the result does not tell."""
    out = tmp_path / "stopped"
    command = [sys.executable, "-m", "dnas.search", *words(home, out, "--budget", "4kMACs", "--workers", "2")]
    environment = os.environ | {"DNAS_CACHE": ""}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and not trained(out):
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate()[1]
    if number == signal.SIGTERM:
        assert process.returncode == 143 and "the same command goes on" in said
    time.sleep(3)  # those left behind leave as well
    before = trained(out)
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 0
    after = trained(out)
    assert all(after[name] == then for name, then in before.items())
    assert {name: data for name, data in written(out).items()} == written(whole)


@pytest.mark.slow
def test_a_fixed_architecture_gets_its_recipe_and_a_training_that_diverges_is_the_worst(home, tmp_path):
    fixed = SPACE.replace("{range: [4, 12, 2]}", "6").replace("{choices: [3, 5]}", "3")
    recipe = "recipe: {epochs: 1, batch_size: 16, validation: 0.2, clip_norm: 0, lr: {choices: [0.05, 1e9]}}\n"
    (home / "fixed.yaml").write_text(fixed + recipe)
    out = tmp_path / "out"
    assert searched(home, out, space="fixed.yaml") == 0
    record = json.loads((out / "joint.json").read_text())
    assert record["members"][0]["taken"] == {"recipe.lr": 0.05} and len(record["trained"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--trainings", "2"), "--trainings: out of range (found 2; accepted: 3 to 1000)"),
        (("--workers", "0"), "--workers: out of range (found 0; accepted: 1 to 256)"),
        (("--preset", "smoke"), "--preset: not of --strategy joint (found 'smoke')"),
        (("--theta-lr", "1"), "--theta-lr: not of --strategy joint (found 1.0)"),
        (("--budget", "100MACs"), "--budget 100MACs: out of reach"),
        (("--recipe", "nothing"), "nothing: unknown recipe"),
        (("--family", "4kMACs,4kMACs"), "--family: not a family"),
        (("--epochs", "0"), "--epochs: not accepted here (found 0.0; accepted: a number above 0)"),
        (("--fill", "2"), "--fill: out of range"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(home, tmp_path, capsys, more, said):
    assert searched(home, tmp_path / "out", *more) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_of_joint_are_refused_elsewhere(home, tmp_path, capsys):
    words = [str(home / "short.yaml"), "--trainings", "8", "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, words)) == 2
    assert "--trainings: only of --strategy joint (found 8)" in capsys.readouterr().err


def test_nothing_to_search_is_said(home, tmp_path, capsys):
    (home / "none.yaml").write_text(SPACE.replace("{range: [4, 12, 2]}", "6").replace("{choices: [3, 5]}", "3"))
    assert searched(home, tmp_path / "out", space="none.yaml") == 2
    assert "neither architecture nor recipe has a choice" in capsys.readouterr().err


def test_each_training_chooses_the_precision_that_suits_its_own_device(home, tmp_path):
    """The process that plans computes on the CPU, whatever the trainings have."""
    from rich.console import Console

    from dnas.data.reading import Reading
    from dnas.fanout.devices import Devices
    from dnas.fanout.processes import Processes
    from dnas.grammar.catalogue import load_space
    from dnas.joint.request import requested
    from dnas.joint.stages import Plan
    from dnas.joint.trainings import Trainings

    def place(precision):
        console = Console(quiet=True)
        given = requested(
            load_space(str(home / "short.yaml")), recipe="quick", values={}, budgets=(), family=None, plan=Plan(4, 1),
            fill=None, data=str(home / "data.npz"), image_size=None, reading=Reading(), seed=0, console=console,
            precision=precision,
        )  # fmt: skip
        pool = Processes(1, Devices("cpu", 1), {})
        trainings = Trainings(
            given.pairs, given.recipes, given.values, given.images, 0, tmp_path, pool, console, 4, given.precision
        )
        return trainings.place((0,) * len(given.pairs.sizes), None)

    own, asked = place(None), place("bfloat16")
    assert own.job.precision is None and asked.job.precision == "bfloat16" and own.folder != asked.folder
    with pytest.raises(InputError, match="--precision: unknown .found 'float16'"):
        place("float16")


def test_a_field_that_the_command_states_is_no_choice(home, tmp_path):
    """Else pairs that differ in nothing would count as several trainings, and the result name an option never tried."""
    from dnas.train.recipe import read_recipe, with_values, without_choices

    file = tmp_path / "open.yaml"
    file.write_text("name: open\nepochs: {choices: [4, 8]}\nlr: {choices: [0.1, 0.2]}\n")
    left = without_choices(read_recipe(file), ["epochs"])
    assert [choice.name for choice in left.choices] == ["lr"]
    assert with_values(left.at({"lr": 1}), {"epochs": 2}).epochs == 2


def test_a_record_without_its_trainings_is_not_known(home, tmp_path):
    """As after `--overwrite` that was stopped, or in a folder that was saved elsewhere: all is trained again."""
    from dnas.cost.budget import parse_budget
    from dnas.grammar.read import read_space
    from dnas.graph import graph_of
    from dnas.joint.pairs import Pairs
    from dnas.joint.record import fits, members_of
    from dnas.joint.stages import Plan
    from dnas.runs.joint import Cost, Ended, Member, Record, TrainedPair
    from dnas.search.budget import measure

    space = read_space(home / "short.yaml")
    walked = graph_of(space)
    pairs = Pairs(space, walked, (), (measure(parse_budget("4kMACs"), walked, space),))
    options = {c.name: c.options for c in pairs.choices}
    winner = Ended((0, 0), (0.5,), 0.5, 0.1, 0.5, "trainings/two")
    record = Record(
        "short", 0, {}, 8, {"trainings": 24, "rounds": 4, "winners": None}, options, ("4kMACs",), None, (),
        (TrainedPair((0, 0), (0.5,), None, "trainings/one"),), None, (),
        (Member((Cost("4kMACs", 4000, 1),), (winner,), {}),),
    )  # fmt: skip
    assert not fits(record, pairs, Plan(), tmp_path) and not members_of(record, pairs, tmp_path)
    for name in ("one", "two"):
        (tmp_path / "trainings" / name).mkdir(parents=True)
    assert fits(record, pairs, Plan(), tmp_path) and members_of(record, pairs, tmp_path) == list(record.members)
    assert not fits(record, pairs, Plan(30), tmp_path) and members_of(record, pairs, tmp_path)
