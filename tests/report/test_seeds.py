"""A folder of one command with several seeds on a page: its runs, their mean and their spread."""

from __future__ import annotations

import json

import pytest

from dnas.cli.entry import call, parse
from dnas.cli.report import Arguments, main
from dnas.judge import tables
from dnas.judge.steps import next_of_all
from dnas.judge.verdict import overall
from dnas.report.sections import sections
from dnas.report.write import read
from dnas.runs.below import runs_of
from dnas.runs.seeds import read_several, runs_within
from dnas.seeds import table
from dnas.seeds.figures import outcome

from .folders import several

pytest.importorskip("vl_convert", reason="pages need dnas[report]")


def test_the_folder_is_one_thing_with_its_mean_and_spread(tmp_path):
    home = several(tmp_path)
    runs, _ = read([home])
    assert [run.name for run in runs] == ["seed 9", "seed 10"]
    found = read_several(home)
    assert found is not None
    outcomes = [outcome(seed, home, f"seeds/{seed}") for seed in (9, 10)]
    own = [[cell.removeprefix("seed ") for cell in row] for row in tables.seeds(found).rows]
    assert [row[1:] for row in own] == [row[1:] for row in table.rows(outcomes)] and len(own) == 5
    said = overall(runs).text
    assert f"mean accuracy and standard deviation validation {found.mean['validation']:.1%}" in said
    assert found.take is not None and f"Take seed {found.take.seed}" in said
    assert any(f"seeds/{found.take.seed}" in step.command for step in next_of_all(runs))
    (section,) = (s for s in sections(runs, []) if s.title == "Over the seeds of tiny")
    rows = section.charts[0].spec["data"]["values"]
    assert [row["name"] for row in rows if row["what"] == "test"] == ["mean", "seed 9", "seed 10"]
    mean = next(row for row in rows if row["what"] == "test")
    assert mean["high"] - mean["accuracy"] == pytest.approx(found.standard_deviation["test"])
    assert call(main, parse(Arguments, [str(home)])) == 0
    assert "Over the seeds of tiny" in (home / "report.html").read_text()


def test_while_its_runs_go_on_they_are_shown(tmp_path):
    home = several(tmp_path, ended=False)
    assert len(runs_within(home)) == len(read([home])[0]) == 2 and read_several(home) is None
    assert [path.name for path in runs_of(tmp_path, tmp_path)] == ["10", "9"]
    assert call(main, parse(Arguments, [str(home), "--out", str(tmp_path / "a.html")])) == 0


@pytest.mark.parametrize("place", ["runs/1/figures", "mean", "standard_deviation", "standard_error"])
def test_a_damaged_record_is_one_line(place, tmp_path, capsys):
    home = several(tmp_path)
    inner = document = json.loads((home / "seeds.json").read_text())
    for key in place.split("/"):
        inner = inner[int(key) if key.isdigit() else key]
    del inner["test"]
    (home / "seeds.json").write_text(json.dumps(document))
    assert call(main, parse(Arguments, [str(home)])) == 2
    message = capsys.readouterr().err
    assert "seeds.json: mean.test" in message and message.count("\n") == 1
