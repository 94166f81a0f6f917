"""What was counted and what is delivered, wherever it is told."""

from __future__ import annotations

import json

import pytest

from dnas.cli import entry
from dnas.cli.count import Arguments, main
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input
from dnas.graph.architecture import architecture
from dnas.runs.as_trained import counted_at, recorded, told_apart


@pytest.fixture
def result(tmp_path):
    """A result's file of a network counted at 24 px in colour, whose weights are of 21 px in grey."""
    space = load_space("tiny")
    own = architecture(space, {c.name: 0 for c in space.choices})
    search = {"space": "tiny", "proxy": {"resolution": 14, "channels": 1, "classes": 10}}
    (tmp_path / "architecture.json").write_text(json.dumps({**own.data, "search": search}))
    return tmp_path


def test_count_says_what_a_result_delivers(result, capsys):
    """A network counted at 24 px x 3 channels was delivered at 21 px x 1, "as dnas.count"."""
    assert entry.call(main, Arguments(str(result))) == 0
    out = capsys.readouterr().out
    assert "delivered (weights and accuracy):" in out and "at 14 px x 1 channel, 10 classes" in out
    assert "counted for budgets:" in out and "at the space's own 16 px x 3 channels, 10 classes" in out
    assert f"python -m dnas.evaluate {result}" in out
    assert entry.call(main, Arguments(str(result), json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["as_trained"]["input"] == {"resolution": 14, "channels": 1, "classes": 10}
    assert told["as_trained"]["costs"]["macs"] < told["macs"]


def test_nothing_is_told_apart_where_nothing_differs():
    space = load_space("fbnetv2_f1")
    assert recorded(space) is None and told_apart(counted_at(space), None) == []
    assert told_apart(counted_at(space), counted_at(space)) == []
    assert len(told_apart(counted_at(space), counted_at(at_input(space, channels=1, classes=10, side=64)))) == 2


@pytest.mark.parametrize("proxy", [None, {}, {"resolution": "x"}, {"resolution": 0, "channels": 1, "classes": 2}, 3])
def test_a_damaged_record_is_none(result, proxy):
    file = result / "architecture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "search": {"proxy": proxy}}))
    assert recorded(load_space(str(result))) is None
