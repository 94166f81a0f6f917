"""A space's file may name the strategy; the command line has the last word."""

from __future__ import annotations

import pytest

from dnas.errors import InputError
from dnas.grammar.catalogue import load_space, space_names
from dnas.grammar.read import space_from_data
from dnas.search import strategies

from .test_search import search

NAMED = {
    "efficientformer": "slimming", "efficientformer_tiny": "slimming",
    "efficientformerv2": "sandwich", "efficientformerv2_tiny": "sandwich",
    **dict.fromkeys(("autoformer_tiny", "autoformer_small", "autoformer_base", "autoformer_mini"), "evolution"),
    "fashion_joint": "joint",
    **dict.fromkeys(("s3", "s3_mini", "tnt", "tnt_mini", "cmt", "cmt_mini"), "evolution"),
}  # fmt: skip
SPACE = {
    "strategy": "random",
    "input": {"classes": 2, "resolution": 8},
    "trunk": [{"conv": {"out": {"choices": [4, 8]}}}],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


@pytest.mark.parametrize("name", space_names())
def test_of_the_shipped_spaces(name):
    assert strategies.of(load_space(name)) == NAMED.get(name, "dmasking")


def test_of_a_file():
    assert strategies.of(space_from_data(SPACE, "file")) == "random"


@pytest.mark.parametrize(
    "value, said",
    [("slimmming", "unknown strategy, did you mean 'slimming'?"), (3, "not text"), (["random"], "not text")],
)
def test_a_name_that_is_none_is_one_line(value, said):
    with pytest.raises(InputError, match="strategy") as error:
        strategies.of(space_from_data({**SPACE, "strategy": value}, "file"))
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1


def test_the_named_one_runs_unless_the_command_line_names_another(tmp_path, capsys):
    """Slimming and sandwich need a budget, random needs none: the answer tells which one was asked."""
    assert search("efficientformer_tiny", "--preset", "smoke", "--out", str(tmp_path / "out")) == 2
    assert "--strategy slimming: slims down to a budget" in capsys.readouterr().err
    argv = ("--strategy", "evolution", "--population", "1")
    assert search("efficientformer_tiny", *argv, "--preset", "smoke", "--out", str(tmp_path / "out")) == 2
    assert "--population" in capsys.readouterr().err
    argv = ("--strategy", "random", "--family", "1MFLOPs,2MFLOPs")
    assert search("efficientformer_tiny", *argv, "--preset", "smoke", "--out", str(tmp_path / "out")) == 2
    assert "--strategy random searches for one set of budgets" in capsys.readouterr().err
