"""`python -m dnas.compare` as a user runs it, on a small space and small data."""

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

from dnas.cli.compare import Arguments, main
from dnas.cli.entry import call, parse
from tests.compare.conftest import Home

RESULT = ("comparison.json", "comparison.md")


def compared(home: Home, out: Path, *more: str) -> int:
    return call(main, parse(Arguments, home.words("--out", str(out), *more)))


def written(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in RESULT}


def trained(out: Path) -> dict[str, int]:
    """When each training was written."""
    return {f.parent.name: f.stat().st_mtime_ns for f in out.glob("trainings/*/architecture.json")}


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory) -> Path:
    """The folder of an uninterrupted comparison."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert compared(home, out, "--random", "1", "--seeds", "2") == 0
    return out


def test_the_comparison_has_every_figure_and_no_clock(whole):
    document = json.loads((whole / "comparison.json").read_text())
    found, drawn = document["networks"]
    assert (found["name"], found["origin"], drawn["origin"]) == ("mine", "found", "drawn")
    assert document["seeds"] == [0, 1] and document["test_images"] == 30
    for network in document["networks"]:
        values = network["accuracy"]["by_seed"]
        assert network["accuracy"]["mean"] == pytest.approx(sum(values) / 2, abs=1e-6)
        for folder, value in zip(network["trainings"], values, strict=True):
            own = json.loads((whole / folder / "architecture.json").read_text())
            assert own["training"]["accuracy"]["test"] == value
            assert own["input"]["resolution"] == network["image_size"]
            assert own["training"]["start"] == "scratch"
    (said,) = document["verdicts"]
    assert said["gap"] == pytest.approx(found["accuracy"]["mean"] - drawn["accuracy"]["mean"], abs=1e-6)
    assert said["verdict"] in document["sentence"] and "2 seeds" in document["sentence"]
    assert not {"date", "host", "seconds"} & set(document)
    text = (whole / "comparison.md").read_text()
    assert document["sentence"] in text and "| mine (found) |" in text and "| drawn 1 |" in text


def test_the_same_command_again_trains_nothing(whole, home, capsys):
    before, times = written(whole), trained(whole)
    assert compared(home, whole, "--random", "1", "--seeds", "2") == 0
    assert "4 of them already there" in capsys.readouterr().out
    assert written(whole) == before and trained(whole) == times and len(times) == 4


def test_more_of_them_go_on_with_what_is_there(whole, home, tmp_path, capsys):
    """Another seed and a known network, which is the one found; then the first command gives its table again."""
    out = tmp_path / "more"
    shutil.copytree(whole, out)
    times = trained(out)
    again = str(home.network)
    assert compared(home, out, "--random", "0", "--seeds", "3", "--against", again) == 0
    assert "3 trainings, 2 of them already there" in capsys.readouterr().out
    after = trained(out)
    assert len(after) == 5 and all(after[name] == then for name, then in times.items())
    document = json.loads((out / "comparison.json").read_text())
    assert document["verdicts"][0]["gap"] == 0 and document["verdicts"][0]["verdict"] == "not to be told apart from"
    assert document["drawn"] is None
    assert compared(home, out, "--random", "1", "--seeds", "2") == 0
    assert written(out) == written(whole)


def test_another_comparison_is_not_replaced_unless_asked(whole, home, tmp_path, capsys):
    out = tmp_path / "other"
    shutil.copytree(whole, out)
    options = ("--random", "0", "--seeds", "1", "--epochs", "1")
    assert compared(home, out, *options) == 2
    assert "epochs 2.0 there, 1.0 here" in capsys.readouterr().err
    assert written(out) == written(whole)
    assert compared(home, out, *options, "--overwrite") == 0
    assert len(trained(out)) == 1 and written(out) != written(whole)


def test_the_report_shows_it(whole, tmp_path):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    from dnas.report.write import write_report

    told = write_report([whole], tmp_path / "page.html")
    document = json.loads((whole / "comparison.json").read_text())
    page = (tmp_path / "page.html").read_text()
    assert document["sentence"] in told[-1] and document["sentence"] in page
    assert 'data-key="comparison-0"' in page and "drawn 1" in page


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_and_continued_it_gives_the_same_table(whole, home, tmp_path, number):
    out = tmp_path / "stopped"
    words = home.words("--random", "1", "--seeds", "2", "--out", str(out))
    command = [sys.executable, "-m", "dnas.compare", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not trained(out):
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate()[1]
    if number == signal.SIGINT:
        assert process.returncode == 130 and "the same command goes on" in said and said.count("\n") == 1, said
    first = trained(out)
    assert first and len(first) < 4
    assert compared(home, out, "--random", "1", "--seeds", "2") == 0
    assert written(out) == written(whole)
    assert all(trained(out)[name] == then for name, then in first.items())


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(whole, home, tmp_path):
    """Its training is repeated at once, and the table is the same byte for byte."""
    out = tmp_path / "killed"
    words = home.words("--random", "1", "--seeds", "2", "--out", str(out))
    process = subprocess.Popen([sys.executable, "-m", "dnas.compare", *words], stdout=subprocess.DEVNULL)
    while process.poll() is None and not trained(out):
        time.sleep(0.02)
    workers: list[str] = []
    while process.poll() is None and not workers:  # one has ended, the next one is begun
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[0]), signal.SIGKILL)
    assert process.wait() == 0 and written(out) == written(whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "0"), "--seeds: out of range"),
        (("--random", "-1"), "--random: out of range"),
        (("--data", "gone"), "no such file or folder"),
        (("--recipe", "quik"), "did you mean 'quick'?"),
        (("--image-size", "0"), "--image-size: out of range"),
    ],
)
def test_mistakes_are_one_line(home, tmp_path, capsys, words, said):
    assert compared(home, tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_search_is_compared_by_its_folder_alone(home, tmp_path, monkeypatch, capsys):
    """Space, data and image size are those of the search; the space's file is found again."""
    from dnas.cli.search import Arguments as SearchArguments
    from dnas.cli.search import main as search

    monkeypatch.chdir(tmp_path)
    words = [str(home.space), "--budget", "30kMACs", "--preset", "smoke", "--data", str(home.data), "--out", "run"]
    assert call(search, parse(SearchArguments, words)) == 0
    words = ["run", "--random", "1", "--seeds", "1", "--recipe", str(home.recipe), "--published", "0"]
    assert call(main, parse(Arguments, words)) == 0
    document = json.loads(Path("runs/run-compared/comparison.json").read_text())
    found = json.loads(Path("run/architecture.json").read_text())
    assert document["budgets"] == ["30kMACs"] and document["networks"][0]["macs"] == found["costs"]["macs"]
    assert document["networks"][0]["image_size"] == found["search"]["proxy"]["resolution"]
    assert all(n["macs"] <= 30000 for n in document["networks"])
    os.rename(home.space, home.space.with_suffix(".moved"))
    try:
        assert call(main, parse(Arguments, words)) == 2
        assert "--space" in capsys.readouterr().err
    finally:
        os.rename(home.space.with_suffix(".moved"), home.space)
