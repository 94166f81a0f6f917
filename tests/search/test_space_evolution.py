"""Space evolution as a user runs it: files, what later commands read, mistakes, and the same bytes after stops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dnas.cli.count import Arguments as CountArguments
from dnas.cli.count import main as count
from dnas.cli.entry import call, parse
from dnas.compare.subject import read_subject
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.report.write import write_report
from dnas.runs.folder import FORMER
from dnas.runs.read import read_run
from dnas.search import legs

from .test_search import search

SPACE = """
name: short
input: {channels: 1, classes: 10, resolution: {choices: [8, 12]}}
templates:
  block: {mbconv: {out: $out, stride: $stride, expand: {choices: [1, 2, 3]}, act: {choices: [relu, hswish]}}}
trunk:
  - conv: {out: 8, stride: 2, kernel: 3, act: relu}
  - block: {out: {range: [8, 16, 4]}}
  - block: {out: {range: [8, 16, 4]}, stride: 2}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
RESULT = (
    "architecture.json", "weights.safetensors", "history.jsonl", "space.yaml", "space_evolution.json",
    "spaces/step1.yaml", "spaces/step2.yaml",
)  # fmt: skip


def command(space: Path, out: Path, *more: str) -> list[str]:
    options = ["--strategy", "space_evolution", "--budget", "0.04MFLOPs", "--preset", "smoke", "--samples", "20"]
    return [str(space), *options, "--out", str(out), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Path]:
    """The space's file and the folder of an uninterrupted run."""
    home = tmp_path_factory.mktemp("space_evolution")
    (home / "short.yaml").write_text(SPACE)
    assert search(*command(home / "short.yaml", home / "whole")) == 0
    return home / "short.yaml", home / "whole"


def test_the_space_is_a_file_with_its_reasons_that_other_commands_read(whole, capsys):
    _, out = whole
    assert all((out / name).is_file() for name in RESULT) and not (out / FORMER).exists()
    space, facts = load_space(out / "space.yaml"), json.loads((out / "space_evolution.json").read_text())
    assert [known["name"] for known in facts["spaces"]] == ["short", "short_step1", "short_step2"]
    text = (out / "space.yaml").read_text()
    for number, known in enumerate(facts["spaces"][:-1], 1):
        assert f"{known['name']} {known['et_error']:.2f} %" in text
        after = load_space(out / "spaces" / f"step{number}.yaml")
        for one in known["lists"]:
            move = known["moves"][one["name"]]
            for name in one["choices"]:
                assert sorted(after.choice(name).options) == move["options"]
            if move["count"]:
                assert f"step {number}: " in text and f"slope {one['slope']:+.2f}" in text
    assert [c.options for c in space.choices] == [c.options for c in load_space(out / "spaces/step2.yaml").choices]
    assert call(count, parse(CountArguments, [str(out / "architecture.json")])) == 0
    assert "total" in capsys.readouterr().out


def test_the_network_is_of_the_last_space_and_within_the_budget(whole):
    _, out = whole
    told = json.loads((out / "architecture.json").read_text())
    space = load_space(out / "space.yaml")
    assert told["search"]["space"] == space.name and told["search"]["budget_satisfied"]
    assert all(told["choices_taken"][c.name] in c.options for c in space.choices)
    spaces = told["search"]["space_evolution"]["spaces"]
    assert len(spaces) == 3 and told["search"]["random_networks"]["count"] == spaces[-1]["networks"]
    rows = read_run(out).rows  # type: ignore[attr-defined]
    assert [row.step for row in rows] == sorted({row.step for row in rows})
    phases = [row.phase for row in rows]
    assert list(dict.fromkeys(phases)) == ["supernet", "compare", "evolve", "settle"]


def test_the_report_shows_every_list_and_every_move(whole, tmp_path):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    _, out = whole
    said = write_report([out], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "How the space evolved" in page and said
    for known in read_run(out).evolution.spaces:  # type: ignore[attr-defined]
        assert all(f"{one.name}, {known.name}" in page for one in known.lists if known.moves)


def test_a_damaged_record_is_one_line(whole, tmp_path):
    _, out = whole
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    facts = json.loads((copy / "space_evolution.json").read_text())
    facts["spaces"][0]["lists"][0]["et_errors"] = [1.0]
    (copy / "space_evolution.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="one an option"):
        read_run(copy)


def test_a_comparison_draws_from_the_last_space(whole):
    _, out = whole
    assert read_subject(str(out), None).space.name == "short_step2"


def test_the_evolved_space_is_searched_like_any_other(whole, tmp_path):
    _, out = whole
    argv = [str(out / "space.yaml"), "--budget", "0.04MFLOPs", "--preset", "smoke", "--strategy", "random"]
    assert search(*argv, "--out", str(tmp_path / "out")) == 0


@pytest.mark.slow
def test_stopped_in_every_space_and_continued_ends_in_the_same_bytes(whole, tmp_path, monkeypatch):
    """Stopped at every 25th look for a signal: in supernets, comparisons and between spaces."""
    space, reference = whole
    stopped, looks = 0, 0

    class Signals:
        signal = 0

        def __enter__(self):
            self.signal = 0
            return self

        def __exit__(self, *_):
            return None

        def __call__(self) -> int:
            nonlocal looks
            looks += 1
            self.signal = self.signal or (15 if looks % 25 == 0 else 0)
            return self.signal

    monkeypatch.setattr("dnas.search.run.asked_to_stop", Signals)
    out = tmp_path / "run"
    while (code := search(*command(space, out, "--resume"))) != 0:
        assert code == 143
        stopped += 1
        assert stopped < 100
    assert stopped > 3
    for name in RESULT:
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    assert not (out / FORMER).exists() and not (out / "checkpoints").exists()


@pytest.mark.slow
def test_what_ended_spaces_came_to_is_of_one_run(whole, tmp_path, monkeypatch, capsys):
    space, _ = whole
    out = tmp_path / "run"

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dnas.search.run.Console.moved", killed)
    assert search(*command(space, out)) == 130
    monkeypatch.undo()
    assert (out / FORMER).is_file()
    assert search(*command(space, out, "--resume", "--seed", "5")) == 2
    assert "seed was 0, is 5" in capsys.readouterr().err
    (out / FORMER).write_text('{"identity": {}}')
    assert search(*command(space, out, "--resume")) == 2
    error = capsys.readouterr().err
    assert FORMER in error and len(error.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("written", [False, True])
def test_a_kill_between_two_spaces_loses_nothing(written, whole, tmp_path, monkeypatch):
    """Before and after what the ended space came to is written."""
    space, reference = whole
    out, write = tmp_path / "run", legs.write_json

    def killed(file, record):
        if written:
            write(file, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(legs, "write_json", killed)
    assert search(*command(space, out, "--checkpoint-every", "0")) == 130
    monkeypatch.undo()
    assert list((out / "checkpoints").iterdir()) and (out / FORMER).exists() == written
    assert search(*command(space, out, "--resume")) == 0
    for name in RESULT:
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name


def test_nothing_moves_without_numbers(tmp_path, capsys):
    file = tmp_path / "names.yaml"
    file.write_text(SPACE.replace("{choices: [8, 12]}", "8").replace("{choices: [1, 2, 3]}", "2")
                    .replace("{range: [8, 16, 4]}", "8"))  # fmt: skip
    assert search(*command(file, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "no choice of" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "argv, said",
    [
        (("--space-steps", "0"), "--space-steps"),
        (("--space-tau", "0"), "--space-tau"),
        (("--space-tau", "-1"), "--space-tau"),
        (("--family", "0.2MFLOPs,0.3MFLOPs"), "--family"),
        (("--start", "fbnetv2_f1"), "--start"),
        (("--budget", "1kFLOPs"), "out of reach"),
    ],
)
def test_a_mistake_is_one_line(argv, said, tmp_path, capsys):
    file = tmp_path / "short.yaml"
    file.write_text(SPACE)
    assert search(*command(file, tmp_path / "out", *argv)) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
