"""The door to the CPU wing: what is offered where there is none, or one that breaks."""

from __future__ import annotations

import pytest

from dnas.nn.wing import Wing
from dnas.process import wing
from dnas.process.wing import Start


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A wing in the place of dnas' own; returns a function that gives it a module."""
    monkeypatch.setattr(wing, "FOLDER", f"wing_of_{tmp_path.name}")
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, source: str) -> None:
        (tmp_path / wing.FOLDER).mkdir(exist_ok=True)
        (tmp_path / wing.FOLDER / f"{name}.py").write_text(source)

    return add


def test_without_a_folder_everything_is_plain(folder, capsys):
    assert wing.start() == Start() and wing.offered("offer", Wing()) == Wing()
    assert (Wing().forms, Wing().rows, Wing().calls, Wing().options) == ({}, None, (), {})
    Start().restart(), Start().begin(), Wing().close_holes()
    assert capsys.readouterr().err == ""


def test_what_it_offers_is_taken(folder):
    folder("start", "from dnas.process.wing import Start\ndef offer(): return Start({'flag': '1'})")
    assert wing.start() == Start({"flag": "1"})


@pytest.mark.parametrize(
    "source, says",
    [
        ("import no_such_package", ""),
        ("from dnas.nn.forms import no_such_name", "no_such_name"),
        ("def offer(): raise ValueError('two\\nlines')", "two lines"),
        ("1 +", "SyntaxError"),
    ],
)
def test_one_that_breaks_is_plain_and_said_unless_a_package_is_missing(folder, capsys, source, says):
    folder("start", source)
    assert wing.start() == Start()
    said = capsys.readouterr().err
    assert said.count("\n") == bool(says) and says in said
