"""What a report says of a run: is it good, and what next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from dnas.cli.entry import parse
from dnas.cli.export import Arguments as ExportArguments
from dnas.cli.search import Arguments as SearchArguments
from dnas.cli.train import Arguments as TrainArguments
from dnas.judge.facts import Accuracy
from dnas.judge.steps import next_of_all, next_steps
from dnas.judge.verdict import level_of, overall, verdict
from dnas.report.summary import summary
from dnas.runs.read import read_run, read_runs

from .folders import STORED, copied, unfinished
from .make import KINDS
from .test_read import changed


def measured(value: float, images: int | None = 1000, chance: float | None = 0.1) -> Accuracy:
    return Accuracy("settled", value, "test", images, chance)


@pytest.mark.parametrize(
    ("accuracy", "level"),
    [
        (measured(0.08), "chance"), (measured(0.11), "chance"), (measured(0.17, 20), "chance"),
        (measured(0.17), "weak"), (measured(0.6), "good"), (measured(0.55, chance=0.5), "weak"),
        (measured(0.9, chance=0.9), "chance"), (measured(0.5, None), "good"), (measured(0.1, None), "chance"),
        (measured(0.9, chance=None), "open"),
    ],
)  # fmt: skip
def test_an_accuracy_counts_only_against_chance(accuracy, level):
    assert level_of(accuracy) == level


def test_a_search_at_chance_does_not_read_like_a_success(tmp_path):
    run = copied("dmasking", tmp_path)
    changed(run / "architecture.json", "search/inherited_accuracy/settled", 0.1)
    said = verdict(read_run(run))
    assert said.level == "chance" and said.text.startswith("No:") and "chance is 1" in said.text
    page = summary([read_run(run)], [])
    assert '<section class="answer chance">' in page and '<p class="value chance">10.0% ±' in page


def test_chance_is_the_share_of_the_most_frequent_class_where_that_is_recorded(tmp_path):
    run = copied("dmasking", tmp_path)
    changed(run / "architecture.json", "search/inherited_accuracy/settled", 0.6)
    assert verdict(read_run(run)).level == "good"
    changed(run / "architecture.json", "search/chance", 0.6)
    assert verdict(read_run(run)).level == "chance"


def test_training_that_ends_below_where_it_began_says_so(tmp_path):
    run = copied("trained", tmp_path)
    assert "raised it from" in verdict(read_run(run)).text
    changed(run / "architecture.json", "training/accuracy/test", 0.02)
    assert "ended below where it began" in verdict(read_run(run)).text


def test_random_networks_are_named_where_the_run_compared_some(tmp_path):
    run = copied("evolution", tmp_path)
    drawn = {"count": 7, "median": 0.2, "best": 0.31}
    changed(run / "architecture.json", "search/random_networks", drawn)
    said = verdict(read_run(run)).text
    assert "7 networks drawn at random" in said and "31.0%" in said and "20.0%" in said


def test_several_runs_name_the_best_and_what_searching_gains(tmp_path):
    folders = [copied(kind, tmp_path) for kind in ("random", "slimming", "trained")] + [unfinished("random", tmp_path)]
    said = overall(read_runs(folders)).text
    best = json.loads((STORED / "trained" / "architecture.json").read_text())["training"]["accuracy"]["test"]
    assert f"Best: 3 trained with {best:.1%}" in said
    assert "2 slimming has" in said and "against random search, 1 random" in said and "1 of 4 has not ended" in said


def test_costs_counted_and_delivered_name_their_inputs():
    run = read_run(STORED / "dmasking")
    assert run.network is not None and run.network.delivered is not None and run.network.by_proxy
    page = summary([run], [])
    for counted in (run.network.counted, run.network.delivered):
        assert counted.images in page
    assert "as trained and exported at" in page


@pytest.mark.parametrize("kind", KINDS)
def test_commands_that_come_next_are_taken_by_their_commands(kind):
    arguments = {"search": SearchArguments, "train": TrainArguments, "export": ExportArguments}
    steps = next_steps(read_run(STORED / kind))
    assert steps
    for step in steps:
        python, _, module, *words = shlex.split(step.command)
        name = module.removeprefix("dnas.")
        assert python == "python" and name in {*arguments, "evaluate", "predict"}
        if name in arguments:
            parse(arguments[name], words)


def test_a_family_is_searched_again_as_a_family():
    longer = next(s.command for s in next_steps(read_run(STORED / "family")) if "longer" in s.why)
    assert "--family 300kFLOPs,200kFLOPs,150kFLOPs" in longer and "--budget" not in longer


def test_a_name_with_a_space_is_quoted(tmp_path):
    run = copied("random", tmp_path, "my run; rm")
    commands = [step.command for step in next_steps(read_run(run))]
    assert any(shlex.split(command)[3] == str(run) for command in commands)


def test_nothing_is_recommended_of_runs_that_have_not_ended(tmp_path):
    runs = read_runs([unfinished("random", tmp_path)])
    (step,) = next_of_all(runs)
    assert step.command == "" and "--resume" in step.why
    assert verdict(runs[0]).level == "open"


def test_choices_that_are_not_used_read_so(tmp_path):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    from dnas.report.write import write_report

    run = read_run(STORED / "slimming")
    page = tmp_path / "page.html"
    write_report([Path(run.folder)], page)
    assert "not used" in page.read_text()


@pytest.mark.parametrize(("guessing", "said"), [(1, "1 of 2 is no better"), (2, "2 of 2 are no better")])
def test_one_run_and_several_have_their_own_verb(guessing, said, tmp_path):
    folders = [copied(kind, tmp_path) for kind in ("dmasking", "slimming")]
    for folder in folders:
        accuracy = 0.1 if folder in folders[:guessing] else 0.9
        changed(folder / "architecture.json", "search/inherited_accuracy/settled", accuracy)
    assert said in overall(read_runs(folders)).text
