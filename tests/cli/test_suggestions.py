"""An unknown name is answered with the nearest one, wherever a name can be written."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dnas.cli import entry
from dnas.grammar.catalogue import find_space, find_table


def said(module: str, capsys, *argv: str) -> str:
    """The one line that a mistaken command prints."""
    command = importlib.import_module(module)
    try:
        code = entry.call(command.main, entry.parse(command.Arguments, list(argv)))
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1
    return told.err


@pytest.mark.parametrize(
    ("module", "argv", "nearest"),
    [
        ("dnas.cli.count", ("fbnet_cc",), "fbnet_c"),
        ("dnas.cli.count", ("fbnet_c", "--convention", "fvcor"), "fvcore"),
        ("dnas.cli.count", ("fbnet_c", "--convntion", "timm"), "--convention"),
        ("dnas.cli.count", ("fbnet_c", "--jsn"), "--json"),
        ("dnas.cli.count", ("fbnet_c", "--resolutoin=64"), "--resolution"),
        ("dnas.cli.spaces", ("fbnetv2_f44", "--json"), "fbnetv2_f4"),
        ("dnas.cli.lut", ("chekc", "pixel3"), "check"),
        ("dnas.cli.lut", ("check", "pixel33"), "pixel3"),
        ("dnas.cli.lut", ("check", "pixel3", "--spce", "tiny"), "--space"),
        ("dnas.cli.lut", ("show", "pixel3", "--space", "tinny"), "tiny"),
        ("dnas.cli.search", ("tiny", "--bugdet", "1MFLOPs"), "--budget"),
        ("dnas.cli.search", ("tiny", "--batch_sise", "1"), "--batch-size"),
        ("dnas.cli.search", ("tiny", "--preset", "quik"), "quick"),
        ("dnas.cli.search", ("tiny", "--budget", "1MFLPs"), "FLOPs"),
        ("dnas.cli.search", ("tiny", "--budget", "1ms@pixl3", "--preset", "smoke"), "pixel3"),
        ("dnas.cli.search", ("tiny", "--loss-form", "aditive"), "additive"),
        ("dnas.cli.export", ("fbnet_c", "--to", "onx"), "onnx"),
        ("dnas.cli.measure", ("tiny", "--runtime", "xlaa"), "xla"),
        ("dnas.cli.report", ("runs", "--otu", "x"), "--out"),
    ],
)
def test_on_the_command_line(module, argv, nearest, capsys):
    assert f"did you mean '{nearest}'?" in said(module, capsys, *argv)


def misspelt(change: str) -> dict:
    """The small space with one name wrong."""
    data = yaml.safe_load(find_space("tiny").read_text())
    conv, tbs, mbconv = (next(iter(item.values())) for item in data["trunk"])
    match change:
        case "kind":
            data["trunk"][0] = {"cov": conv}
        case "field":
            conv["kernl"] = 3
        case "template":
            data["trunk"][1] = {"tbz": tbs}
        case "argument":
            tbs["otu"] = tbs.pop("out")
        case "activation":
            conv["act"] = "hswich"
        case "activation option":
            conv["act"] = {"choices": ["relu", "hswich"]}
        case "named choice":
            data["choices"] = {"width": {"choices": [8, 16]}}
            conv["out"] = "$widht"
        case "formula":
            mbconv["hidden"] = "in * expnd"
        case "function":
            mbconv["hidden"] = "roundd8(in * expand)"
        case "choice":
            conv["kernel"] = {"choises": [3, 5]}
        case "key":
            data["truk"] = []
        case "input":
            data["input"]["resolutoin"] = 32
        case "constraint":
            data["choices"] = {"width": {"choices": [8, 16]}}
            data["where"] = ["$wdth > 8"]
    return data


@pytest.mark.parametrize(
    ("change", "nearest"),
    {
        "kind": "conv", "field": "kernel", "template": "tbs", "argument": "out", "activation": "hswish",
        "activation option": "hswish", "named choice": "$width", "formula": "expand", "function": "round8",
        "choice": "choices", "key": "trunk", "input": "resolution", "constraint": "$width",
    }.items(),
)  # fmt: skip
def test_in_a_space(change, nearest, tmp_path: Path, capsys):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(misspelt(change)))
    line = said("dnas.cli.spaces", capsys, str(file))
    assert f"did you mean '{nearest}'?" in line and "mine.json" in line


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("entires", {}, "entries"),
        ("in_base", ["convv"], "conv"),
        ("entries", {"mbcnv side=8 in=8 out=8": 1}, "mbconv"),
        ("entries", {"mbconv side=8 in=8 out=8 kernl=3": 1}, "kernel"),
        ("measured", {"repeat": 3}, "repeats"),
        ("entries", {"mbconv side=8 in=8 out=8": {"ms": 1, "repeat": 3}}, "repeats"),
    ],
)
def test_in_a_table(key, value, nearest, tmp_path, capsys):
    data = json.loads(find_table("pixel3").read_text())
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(data | {key: value}))
    assert f"did you mean '{nearest}'?" in said("dnas.cli.lut", capsys, "check", str(file))


def test_help_is_no_mistake(capsys):
    from dnas.cli import count

    with pytest.raises(SystemExit) as stop:
        entry.parse(count.Arguments, ["--help"])
    assert not stop.value.code and "--convention" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ((), "missing: ARCH"),
        (("a", "b"), "b: not expected here"),
        (("a", "--resolution"), "--resolution: nothing given"),
        (("a", "--resolution", "wide"), "--resolution: not accepted here (found 'wide'; accepted: INT)"),
        (("a", "--", "--jsn"), "--jsn"),
    ],
)
def test_other_mistakes_in_the_arguments(argv, part, capsys):
    assert part in said("dnas.cli.count", capsys, *argv)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_one_line_whatever_the_terminal_can_show(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "dnas.count", "a", "--resolution", "wide"], capture_output=True,
        cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr == b"error: --resolution: not accepted here (found 'wide'; accepted: INT)\n"


def test_names_that_are_accepted_are_in_order_and_none_is_no_name(capsys):
    """tyro lists a set, and in it that nothing need be given."""
    text = said("dnas.cli.train", capsys, "fbnetv2_f1", "--distill", "all")
    assert "(found 'all'; accepted: hard, manifold, soft)\n" in text
