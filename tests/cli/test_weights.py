"""The command `dnas weights`: a checkpoint becomes a run, mistakes are one line, a training begins from it."""

from __future__ import annotations

import json

import pytest

from dnas.cli import train, weights
from dnas.cli.entry import call, parse
from dnas.grammar.catalogue import load_space
from dnas.runs.result import read_result

from ..timm.networks import FAMILIES, checkpoint, drawn, network, saved


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an architecture's file and weights of it under timm's names, of another number of classes."""
    monkeypatch.chdir(tmp_path)
    side, trunk, head = FAMILIES["deit"]
    size = {"channels": 3, "classes": 5, "resolution": side}
    (tmp_path / "mine.json").write_text(json.dumps({"name": "mine", "input": size, "trunk": trunk, "head": head}))
    other = network("deit", classes=7)
    saved(tmp_path / "model.safetensors", checkpoint(other, drawn(other)))
    return tmp_path


def ran(*argv: str) -> int:
    return call(weights.main, parse(weights.Arguments, list(argv)))


def trained(*argv: str) -> int:
    return call(train.main, parse(train.Arguments, [*argv, "--epochs", "0.05", "--batch-size", "32"]))


def test_import(place, capsys):
    assert ran("import", "mine.json", "model.safetensors") == 0
    out = capsys.readouterr().out
    assert "written to runs/mine-imported" in out and "python -m dnas.predict runs/mine-imported" in out
    assert read_result(place / "runs/mine-imported").network.classes == 7
    assert ran("import", "mine.json", "model.safetensors", "--image-size", "32") == 2
    assert "'pos_embed' has shape [1, 17, 8], not [1, 65, 8]" in capsys.readouterr().err


def test_mistakes_are_one_line(place, capsys):
    for argv, said in {
        ("mine.json", "other.safetensors"): "no such file",
        ("swin_t", "model.safetensors"): "not timm's weights of swin_t",
        ("cmt_ti", "model.safetensors"): "timm has no network of such blocks",
        ("tiny", "model.safetensors"): "a space with 14 choices",
        ("deit_tni", "model.safetensors"): "did you mean 'deit_ti'",
    }.items():
        assert ran("import", *argv) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not (place / "runs").exists()


def test_show(place, capsys):
    assert ran("show", "model.safetensors", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["names"] == "timm or others" and found["fits"] == [] and found["types"] == ["F32"]


@pytest.mark.slow
def test_a_training_begins_from_it(place, capsys):
    assert ran("import", "mine.json", "model.safetensors", "--out", "run") == 0
    assert trained("run", "--out", "t") == 2
    assert "10 classes for a network of 7" in (error := capsys.readouterr().err) and "try --new-classes" in error
    assert trained("run", "--new-classes", "--out", "t1") == 0
    assert trained("mine.json", "--init", "model.safetensors", "--new-classes", "--out", "t2") == 0
    first, second = ((place / name / "weights.safetensors").read_bytes() for name in ("t1", "t2"))
    assert first == second
    told = json.loads((place / "t2" / "architecture.json").read_text())["training"]
    assert told["start"] == "inherited" and told["classifier"] == "begun anew"


def test_init_names_one_beginning(place, capsys):
    for argv, said in {
        ("mine.json", "--init", "fresh"): "--init: unknown",
        ("mine.json", "--init", "none.safetensors"): "none.safetensors: no such file",
        ("mine.json", "--init", "model.safetensors", "--weights", "model.safetensors"): "a second file of weights",
        ("mine.json", "--init", "scratch", "--weights", "model.safetensors"): "--weights: not read with --init scratch",
    }.items():
        assert trained(*argv) == 2
        assert said in capsys.readouterr().err


def test_a_name_of_timm_is_taken(place, capsys):
    space = load_space("efficientformerv2_s0")
    saved(place / "s0.safetensors", checkpoint(space, drawn(space)))
    assert ran("import", "deit_tiny_patch16_224", "s0.safetensors") == 2
    assert "not timm's weights of deit_ti with 1000 classes" in capsys.readouterr().err
