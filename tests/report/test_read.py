"""Result folders are read strictly: what the commands wrote is taken, a damaged file is one line that says where."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.report import Arguments, main
from dnas.errors import InputError
from dnas.judge.beside import known
from dnas.report.write import read
from dnas.runs.folder import RESULT
from dnas.runs.read import read_run, read_runs
from dnas.runs.run import Search, Training

from .folders import STORED, copied, unfinished
from .make import KINDS, SEARCHES


def report(*argv: str) -> int:
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    return call(main, parse(Arguments, list(argv)))


def changed(file: Path, place: str, value: Any) -> None:
    """Sets the value at `a.0.b` of a JSON file; `None` of a mapping's key takes it away."""
    data = json.loads(file.read_text())
    *before, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    inner = data
    for key in before:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    file.write_text(json.dumps(data))


def row_changed(file: Path, number: int, key: str, value: Any) -> None:
    """Sets a key of a line of a history."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[number][key] = value
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_it_was_written(kind):
    run = read_run(STORED / kind)
    document = json.loads((STORED / kind / "architecture.json").read_text())
    assert run.network is not None and run.network.counted.macs == document["costs"]["macs"]
    assert run.unfinished == "" and list(run.warnings) == document.get("search", {}).get("warnings", [])
    if kind == "trained":
        assert isinstance(run, Training) and run.facts is not None and len(run.epochs) == 3
        assert run.facts.accuracy.test == document["training"]["accuracy"]["test"]
    else:
        assert isinstance(run, Search) and run.facts.strategy == document["search"]["strategy"]
        assert bool(run.steps) == (run.facts.strategy in ("slimming", "sandwich"))


def test_a_chain_has_the_costs_and_actions_of_its_file():
    run = read_run(STORED / "slimming")
    written = json.loads((STORED / "slimming" / "chain.json").read_text())["steps"]
    assert isinstance(run, Search) and len(run.steps) == len(written)
    for step, raw in zip(run.steps, written, strict=True):
        assert list(step.costs) == raw["costs"] and step.accuracy == raw["accuracy"]
        assert [(a.choice, a.before, a.after) for a in step.actions if a.choice] == [
            (a["choice"], a["from"], a["to"]) for a in raw["actions"] if "choice" in a
        ]


def test_a_family_has_each_budget_with_its_share_the_loosest_first():
    run = read_run(STORED / "family")
    assert isinstance(run, Search)
    assert [m.budget for m in run.family] == ["300kFLOPs", "200kFLOPs", "150kFLOPs"]
    for member in run.family:
        file = json.loads((STORED / "family" / "family" / f"{member.budget}.json").read_text())
        limit = 1e3 * float(member.budget.removesuffix("kFLOPs"))
        assert member.share == file["costs"]["macs"] / limit and member.share <= 1


def test_a_members_accuracy_on_the_choices_share_is_its_own():
    run = read_run(STORED / "random")
    assert isinstance(run, Search)
    (found,) = (k for k in known(run, []) if k.name == "best compared")
    assert found.more == f"of {run.facts.compared}"
    member = replace(run, facts=msgspec.structs.replace(run.facts, compared=None))
    named = [(k.name, k.value) for k in known(member, []) if k.on == found.on and not k.more]
    assert ("this network", found.value) in named


def test_blocks_carry_the_names_of_the_space_and_choices_of_skipped_ones_are_not_used():
    run = read_run(STORED / "slimming")
    assert isinstance(run, Search) and run.network is not None
    for layer in run.network.layers:
        assert layer.source.startswith(layer.path.split(".")[0])
    for branch in ("trunk.1.0", "trunk.1.1"):
        inside = {name for name in run.taken if name.startswith(f"{branch}.mbconv.")}
        assert inside and (inside <= run.unused) == (run.taken[f"{branch}.one_of"] == "skip")


def test_older_files_get_their_names_from_the_shipped_space(tmp_path):
    run = copied("slimming", tmp_path)
    stated = read_run(run)
    for key in ("blocks", "not_used"):
        changed(run / "architecture.json", f"search/{key}", None)
    found = read_run(run)
    assert isinstance(found, Search) and isinstance(stated, Search)
    assert found.network == stated.network and found.unused == stated.unused and found.unused


def test_a_run_that_has_not_ended_says_how_far_it_came(tmp_path):
    search, training = unfinished("slimming", tmp_path, 26), unfinished("trained", tmp_path, 2)
    runs = read_runs([search, training])
    assert [type(run) for run in runs] == [Search, Training]
    last = json.loads((search / "history.partial.jsonl").read_text().splitlines()[-1])
    assert f"after step {last['step']}, in its phase" in runs[0].unfinished and "after epoch 2" in runs[1].unfinished
    assert isinstance(runs[0], Search) and runs[0].steps, "the chain so far"
    assert report(str(search), str(training), "--out", str(tmp_path / "page.html")) == 0


def test_a_run_that_has_begun_says_what_it_was_asked_for(tmp_path):
    run = unfinished("sandwich", tmp_path, 26)
    asked = {"strategy": "sandwich", "budgets": ["150kFLOPs"], "seed": 3, "settings": {"epochs": 0.1}}
    (run / "run.json").write_text(json.dumps({"run": "search", "identity": asked}))
    found = read_run(run)
    assert isinstance(found, Search) and found.facts.strategy == "sandwich" and found.facts.seed == 3
    assert found.chain is not None and found.chain.budgets == ("150kFLOPs",)
    (run / "history.partial.jsonl").unlink()
    assert "has not come to its first row" in read_run(run).unfinished
    assert report(str(run)) == 0
    changed(run / "run.json", "identity/strategy", 4)
    with pytest.raises(InputError, match="identity: strategy: Expected `str`, got `int`"):
        read_run(run)


def test_rows_of_other_budgets_than_the_run_was_asked_for_are_one_line(tmp_path, capsys):
    run = unfinished("dmasking", tmp_path)
    asked = {"strategy": "dmasking", "budgets": ["150kFLOPs", "9kparams", "1MB"]}
    (run / "run.json").write_text(json.dumps({"run": "search", "identity": asked}))
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert "expected: 2 numbers" in message and "3, one a budget" in message and message.count("\n") == 1


def test_a_result_on_its_way_into_place_is_read_there(tmp_path):
    """What `dnas.files.sets` leaves when it is killed while it moves the files of a result."""
    run = copied("family", tmp_path)
    expected = read_run(run)
    files = [p.relative_to(run).as_posix() for p in run.rglob("*.json*")]
    moving = run / ".dnas-moving"
    for name in files:
        (moving / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).rename(moving / name)
    (moving / "files.json").write_text(json.dumps({"files": files, "removed": []}))
    assert read_run(run) == expected


def test_a_rerun_in_the_same_folder_is_said(tmp_path):
    run = copied("random", tmp_path)
    (run / "history.partial.jsonl").write_text((run / "history.jsonl").read_text().splitlines()[0] + "\n")
    assert "has not ended" in read_run(run).warnings[0]


JSON = {
    "cost that is text": ("slimming", "chain.json", "steps/2/costs/0", "many", "steps.2.costs.0: Expected"),
    "accuracy above one": ("slimming", "chain.json", "steps/1/accuracy", 1.5, "steps.1.accuracy: Expected"),
    "a cost too few": ("slimming", "chain.json", "steps/1/costs", [], "steps.1.costs: 0 numbers"),
    "no actions": ("sandwich", "chain.json", "steps/1/actions", None, "steps.1: Object missing"),
    "negative cost": ("sandwich", "chain.json", "steps/1/costs/0", -1, "steps.1.costs.0: Expected"),
    "member without accuracy": ("family", "family/150kFLOPs.json", "search/accuracy", None, "search: Object missing"),
    "budget of a member": ("family", "family/150kFLOPs.json", "search/budget", "lots", "not a budget"),
    "accuracy by name": ("dmasking", "architecture.json", "search/inherited_accuracy/settled", "x",
                         "search: inherited_accuracy.settled: Expected `float`, got `str` (found 'x')"),
    "limit of nothing": ("random", "architecture.json", "search/budgets/0/limit", 0, "budgets.0.limit: Expected"),
    "warnings": ("random", "architecture.json", "search/warnings", "none", "warnings: Expected `array`"),
    "taken": ("random", "architecture.json", "choices_taken", [1], "choices_taken: not a mapping"),
    "test accuracy": ("trained", "architecture.json", "training/accuracy/test", "0.5", "accuracy.test: Expected"),
    "images": ("trained", "architecture.json", "training/images/test", -3, "images.test: Expected"),
    "network met": ("random", "architecture.json", "search/met/options/1", "0 x", "met: options.1: no architecture"),
    "option met": ("random", "architecture.json", "search/met/options/1", "-1" + " 0" * 13, "no architecture"),
    "accuracies met": ("random", "architecture.json", "search/met/accuracy", [0.5], "met: accuracy: 1 numbers"),
    "option of a pair": ("joint", "joint.json", "trained/1/options/0", 99, "trained.1.options: not of the choices"),
    "options of a pair": ("joint", "joint.json", "members/0/winners/0/options", [0], "winners.0.options: not of"),
    "curve of a pair": ("joint", "joint.json", "trained/0/curve", [], "trained.0.curve: empty"),
    "no winners": ("joint", "joint.json", "members/0/winners", [], "members.0.winners: empty"),
    "no members": ("joint", "joint.json", "members", [], "no training, or no result"),
    "option of a joint search": ("joint", "joint.json", "choices/c1/0", {"a": 1}, "choices.c1.0: Expected"),
    "options of a member": ("family", "family/150kFLOPs.json", "choices_taken", 5, "choices_taken: Expected"),
    "option of a step": ("slimming", "chain/001.json", "choices_taken/resolution", [1], "taken.resolution: Expected"),
    "epochs of all": ("compare", "comparison.json", "recipe/epochs", "x", "recipe.epochs: Expected"),
    "neither": ("trained", "architecture.json", "training", None, "neither 'search' nor 'training'"),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_a_damaged_value_is_one_line_with_file_place_and_value(case, tmp_path, capsys):
    kind, name, place, value, said = JSON[case]
    run = copied(kind, tmp_path)
    changed(run / name, place, value)
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert said in message and str(run / name) in message and message.count("\n") == 1
    if isinstance(value, str | int | float) and "Expected" in said and "array" not in said:
        assert f"found {value!r}" in message
    assert not (run / "report.html").exists()


ROWS = {
    "epoch": ("trained", 1, "loss", "low", ":2: loss: Expected `float`, got `str` (found 'low')"),
    "accuracy of an epoch": ("trained", 2, "validation_accuracy", 7, ":3: validation_accuracy: Expected"),
    "step back": ("trained", 2, "step", 1, ":3: step: 1 after"),
    "probability": ("slimming", 3, "probabilities", {"a": [0.5, "x"]}, ":4: probabilities.a.1: Expected"),
    "best": ("random", -1, "best", 3, "best: Expected"),
    "costs expected": ("dmasking", 5, "expected", [1, 2, 3], ":6: expected: 3 numbers"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_damaged_line_is_one_line_with_its_number(case, tmp_path, capsys):
    kind, number, key, value, said = ROWS[case]
    run = copied(kind, tmp_path)
    row_changed(run / "history.jsonl", number, key, value)
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert said in message and "history.jsonl" in message and message.count("\n") == 1


def test_a_damaged_line_of_a_run_that_has_not_ended(tmp_path):
    run = unfinished("slimming", tmp_path, 26)
    row_changed(run / "history.partial.jsonl", 22, "chain", {"number": 2, "actions": []})
    with pytest.raises(InputError, match="chain: Object missing required field `costs`"):
        read_run(run)


FILES = {
    "cut architecture": ("architecture.json", lambda raw: raw[:700], "not JSON"),
    "cut history": ("history.jsonl", lambda raw: raw[:-40], "not JSON"),
    "empty history": ("history.jsonl", lambda raw: b"", "no rows"),
    "binary history": ("history.jsonl", lambda raw: b"\xff\xfe\x00", "not UTF-8"),
    "foreign architecture": ("architecture.json", lambda raw: b'{"layers": 3}', "unknown key"),
    "infinite": (
        "history.jsonl",
        lambda raw: raw + b'{"step": 9999, "epoch": 9, "loss": 1e999}\n',
        "not a finite number",
    ),
    "twice": ("history.jsonl", lambda raw: raw + raw, "growing steps"),
}


@pytest.mark.parametrize("kind", ["random", "trained"])
@pytest.mark.parametrize("case", FILES)
def test_a_damaged_file_is_one_line(case, kind, tmp_path, capsys):
    name, damage, said = FILES[case]
    run = copied(kind, tmp_path)
    (run / name).write_bytes(damage((run / name).read_bytes()))
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1 and str(run) in message


@pytest.mark.parametrize("name", ["architecture.json", "history.jsonl"])
def test_a_missing_file_is_one_line(name, tmp_path, capsys):
    run = copied("random", tmp_path)
    (run / name).unlink()
    assert report(str(run)) == 2
    message = capsys.readouterr().err
    assert name in message and message.count("\n") == 1


@pytest.mark.parametrize("where", ["nowhere", "/dev/null", "bad\0name"])
def test_no_folder_is_one_line(where, capsys):
    assert report(where) == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_empty_folder_says_what_is_accepted(tmp_path, capsys):
    assert report(str(tmp_path)) == 2
    assert "dnas.search, dnas.train or dnas.compress" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_of_runs_stands_for_them(tmp_path):
    for name in ("tiny-1", "tiny-0"):
        shutil.copytree(STORED / name, tmp_path / "runs" / "small" / name)
    shutil.copytree(STORED / "trained", tmp_path / "runs" / "trained")
    runs, _ = read([tmp_path / "runs"])
    assert [run.name for run in runs] == ["small/tiny-0", "small/tiny-1", "runs/trained"]
    (tmp_path / "runs" / "trained" / "architecture.json").unlink()
    with pytest.raises(InputError, match="trained"):
        read([tmp_path / "runs"])


def test_the_stored_runs_have_the_form_that_the_commands_write_today(made):
    """What the fast tests read is still written: no key of the stored files has gone."""
    for kind in KINDS:
        for stored in sorted((STORED / kind).rglob("*.json*")):
            now = made / kind / stored.relative_to(STORED / kind)
            if stored.name.startswith(("architecture", "history", "chain")):
                assert shape_of(stored) - SOMETIMES <= shape_of(now), stored
        listed = json.loads((made / kind / "provenance.json").read_text())["files"]
        assert {name.split("/")[0] for name in listed} <= set(RESULT), "a user's file of such a name would be replaced"


SOMETIMES = {".preprocessing.subgrid"}
"""Only networks of a smaller resolution than the images have it, and which one is found may change."""


def shape_of(file: Path) -> set[str]:
    """The keys of a JSON or JSON Lines file, and those inside them."""

    def places(value: Any, at: str) -> set[str]:
        if isinstance(value, dict):
            return {at}.union(*(places(v, f"{at}.{k}") for k, v in value.items())) if at.count(".") < 2 else {at}
        if isinstance(value, list):
            return {at}.union(*(places(v, at) for v in value))
        return {at}

    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    return set().union(*(places(json.loads(line), "") for line in lines))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_made_now_becomes_a_page_with_pictures(kind, made, tmp_path):
    pytest.importorskip("vl_convert")
    page, pictures = tmp_path / "page.html", tmp_path / "pictures"
    assert report(str(made / kind), "--out", str(page), "--png", str(pictures)) == 0
    assert page.stat().st_size > 20_000 and len(list(pictures.iterdir())) >= 5


@pytest.mark.slow
def test_a_search_that_is_killed_is_shown_as_far_as_it_came(tmp_path):
    run = tmp_path / "killed"
    words = ["tiny", "--budget", "150kFLOPs", "--preset", "smoke", "--strategy", "slimming", "--out", str(run)]
    search = subprocess.Popen([sys.executable, "-m", "dnas.search", *words], stdout=subprocess.DEVNULL)
    while search.poll() is None and not (run / "history.partial.jsonl").exists():
        time.sleep(0.02)
    search.kill()
    search.wait()
    found = read_run(run)
    assert isinstance(found, Search) and "has not ended" in found.unfinished and found.facts.strategy == "slimming"
    assert [b.budget for b in found.facts.budgets] == ["150kFLOPs"]
    assert report(str(run)) == 0 and "has not ended" in (run / "report.html").read_text()


@pytest.mark.slow
def test_all_runs_made_now_stand_on_one_page(made, tmp_path):
    page = tmp_path / "page.html"
    assert report(*(str(made / kind) for kind in KINDS), "--out", str(page)) == 0
    text = page.read_text()
    assert all(f"{n} {kind}" in text for n, kind in enumerate(KINDS, 1)) and len(SEARCHES) + 1 == len(KINDS)


def test_choices_stand_in_the_order_of_the_space_not_of_their_names():
    run = read_run(STORED / "dmasking")
    assert isinstance(run, Search)
    turned = replace(run, options=dict(reversed(run.options.items())))
    assert list(turned.last_probabilities) == [name for name in turned.options if name in run.last_probabilities]
    assert list(turned.last_probabilities) == list(reversed(run.last_probabilities)) and len(run.last_probabilities) > 1
