"""What a command writes beside runs never replaces what it reads, a run's result, or a file nobody gave up."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnas.cli import plan, report
from dnas.cli.entry import call, parse
from dnas.errors import InputError
from dnas.export.write import export
from dnas.files import write_json
from dnas.report.page import BEGINNING
from dnas.runs.outputs import check_output

from ..report.folders import copied

OURS = BEGINNING.encode()


@pytest.fixture
def run(tmp_path) -> Path:
    """A stored run, which lists its files as the commands do."""
    folder = copied("family", tmp_path, "run")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    record = {"run": "search", "identity": {"seed": 0}, "files": [*names, "provenance.json"]}
    write_json(folder / "provenance.json", record)
    return folder


def refused(path: Path, **how) -> str:
    with pytest.raises(InputError) as caught:
        check_output(path, **how)
    return str(caught.value)


def test_a_new_file_and_an_earlier_page_may_be_written(tmp_path):
    check_output(tmp_path / "new.html", ours=OURS)
    (tmp_path / "page.html").write_text(BEGINNING + "...")
    check_output(tmp_path / "page.html", ours=OURS)


def test_another_file_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    for ours in (None, OURS):
        assert "exists already (accepted: another file, or --overwrite)" in refused(tmp_path / "photo.jpg", ours=ours)
    check_output(tmp_path / "photo.jpg", ours=OURS, overwrite=True)
    assert "a folder, not a file" in refused(tmp_path, overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "exists already" in refused(tmp_path / "link")


def test_a_runs_result_is_never_replaced(run, tmp_path):
    files = [p for p in run.rglob("*") if p.is_file()]
    (tmp_path / "link").symlink_to(run)
    assert any(p.parent != run for p in files)
    for path in [*files, tmp_path / "link" / "architecture.json"]:
        assert "belongs to a run's result" in refused(path, overwrite=True)


def test_what_is_read_is_never_replaced(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "same").symlink_to(tmp_path / "a.yaml")
    assert "is read here" in refused(tmp_path / "same", overwrite=True, inputs=[tmp_path / "a.yaml"])
    check_output(tmp_path / "a.yaml", overwrite=True, inputs=[tmp_path / "b.yaml"])


def told(main, arguments: type, capsys, *words: str) -> str:
    assert call(main, parse(arguments, list(words))) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_commands_keep_to_it(run, tmp_path, capsys):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    photo, weights = tmp_path / "photo.jpg", run / "architecture.json"
    photo.write_bytes(b"\xff\xd8")
    before = weights.read_bytes()
    assert "exists already" in told(report.main, report.Arguments, capsys, str(run), "--out", str(photo))
    line = told(report.main, report.Arguments, capsys, str(run), "--out", str(weights), "--overwrite")
    assert "belongs to a run's result" in line
    assert "exists already" in told(plan.main, plan.Arguments, capsys, "tiny", "--json", str(photo))
    assert photo.read_bytes() == b"\xff\xd8" and weights.read_bytes() == before
    page = tmp_path / "page.html"
    for _ in range(2):  # the second takes the place of the first
        assert call(report.main, parse(report.Arguments, [str(run), "--out", str(page)])) == 0


def test_an_export_keeps_what_it_is_made_of(tmp_path):
    network = tmp_path / "small.yaml"
    network.write_text(
        "name: small\ninput: {channels: 1, classes: 3, resolution: 8}\n"
        "trunk: [{conv: {out: 4}}]\nhead: [{pool: {}}, {linear: {out: $classes}}]\n"
    )
    before = network.read_bytes()
    with pytest.raises(InputError, match="is read here"):
        export(str(network), "flax", out=network, overwrite=True)
    assert network.read_bytes() == before
