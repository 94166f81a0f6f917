"""`dnas.count` as a user meets it, and the conventions against hand counts."""

import json
import os
import subprocess
import sys

import pytest

from dnas.cli import entry
from dnas.cli.count import Arguments, main
from dnas.cost.conventions import CONVENTIONS
from dnas.cost.count import count
from dnas.errors import UserError
from dnas.grammar.catalogue import folder, load_space
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import architecture

ROOT = folder("search_spaces").parent


def command(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60
    )


def test_json_object():
    done = command("-m", "dnas.count", "fbnet_c", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["macs"], result["params"]) == (378_136_224, 5_592_784)
    assert type(result["macs"]) is int and result["convention"]["name"] == "dnas"
    for key in ("macs", "params"):
        assert sum(layer[key] for layer in result["layers"]) == result[key]
        assert all(sum(o[key] for o in layer["operators"]) == layer[key] for layer in result["layers"])
    assert result["layers"][0]["output"] == [112, 112, 16] and result["layers"][-1]["output"] == [1000]


def test_table(capsys):
    main(Arguments("fbnetv2_f1"))
    text = capsys.readouterr().out
    assert "trunk.0" in text and "56,231,936" in text and "convention dnas: MACs of" in text


@pytest.mark.parametrize(
    "args, parts",
    [
        (["fbnetv2"], ["a search space with 90 choices", "dnas.spaces /", "fbnetv2.yaml"]),
        (["fbnet_zz"], ["unknown space", "did you mean"]),
        (["no/file.yaml"], ["no such file"]),
        (["fbnet_c", "--resolution", "0"], ["--resolution", "1 to 4096"]),
        (["fbnet_c", "--classes", "-1"], ["--classes"]),
        (["fbnetv3_a", "--resolution", "3"], ["fbnetv3_a.yaml", "vanishes"]),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(args, parts):
    done = command("-m", "dnas.count", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in parts), done.stderr


def test_usage_errors_exit_with_2():
    assert command("-m", "dnas.count", "fbnet_c", "--convention", "mine").returncode == 2
    assert command("-m", "dnas.count").returncode == 2


@pytest.mark.parametrize(
    "module", ["dnas.cli.count", "dnas.cli.spaces", "dnas.cli.entry", "dnas.solve.relevance", "dnas.grammar.catalogue"]
)
def test_no_jax_is_imported(module):
    done = command("-c", f"import {module}, sys; print('jax' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_resolution_and_classes():
    counted = count(load_space("fbnet_c", classes=10))
    assert counted["params"] == 5_592_784 - 990 * 1985
    assert count(load_space("fbnet_c"))["input"] == {"channels": 3, "classes": 1000, "resolution": 224}


SMALL = {
    "name": "small",
    "input": {"channels": 3, "classes": 5, "resolution": 9},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": 4, "bias": True}},  # 5x5x4
        {"mbconv": {"out": 4, "hidden": 8, "se": True, "se_hidden": 2}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


def test_small_network_by_hand():
    """3x3 stem 3-4 on 5x5; 1x1 4-8, 3x3 depthwise, squeeze-excite 8-2-8, 1x1 8-4; pool; linear 4-5."""
    macs = 25 * 27 * 4 + 25 * 4 * 8 + 25 * 9 * 8 + 2 * 8 * 2 + 25 * 8 * 4 + 4 * 5
    weights = 27 * 4 + 4 * 8 + 9 * 8 + 2 * 8 * 2 + 8 * 4 + 4 * 5
    biases = 4 + (2 + 8) + 5
    affine = 2 * (4 + 8 + 8 + 4)
    norms = 25 * (4 + 8 + 8 + 4)
    squeeze, pool = 25 * 8, 25 * 4
    space = space_from_data(SMALL, "small")
    params = weights + biases + affine
    expected = {
        "dnas": (macs, params),
        "zoo": (macs + squeeze + pool, weights),
        "fvcore": (macs + 2 * norms + squeeze + pool, params),
        "timm": (macs + 2 * norms + pool, params),
        "thop": (macs + 4 * norms + squeeze + 8 + pool + 4, params),
        "snap": (macs, weights + 3 + (8 + 2) + 5),
    }
    assert set(expected) == set(CONVENTIONS)
    for name, pair in expected.items():
        counted = count(space, name)
        assert (counted["macs"], counted["params"]) == pair, name


def test_space_is_refused():
    with pytest.raises(UserError, match="with 14 choices"):
        count(load_space("tiny"))


def test_a_fault_of_ours_keeps_its_traceback():
    def broken(args):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entry.call(broken, None)


@pytest.mark.parametrize(
    "error, code", [(KeyboardInterrupt(), 130), (KeyboardInterrupt(15), 143), (UserError("a\nb"), 2)]
)
def test_exit_codes(error, code, capsys):
    def stop(args):
        raise error

    assert entry.call(stop, None) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", ["dnas.count fbnetv3_g --json", "dnas.search --help"])
def test_closed_pipe_is_quiet(arguments):
    done = subprocess.run(
        f"{sys.executable} -m {arguments} | head -c 5", shell=True, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""


def test_a_result_folder_is_counted(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    assert entry.call(main, entry.parse(Arguments, [str(folder)])) == 2
    assert "no architecture.json in this folder" in capsys.readouterr().err
    (folder / "architecture.json").write_text(json.dumps(architecture(load_space("fbnetv2_f1"), {}).data))
    assert entry.call(main, entry.parse(Arguments, [str(folder), "--classes", "10", "--json"])) == 0
    counted = json.loads(capsys.readouterr().out)
    assert entry.call(main, entry.parse(Arguments, ["fbnetv2_f1", "--classes", "10", "--json"])) == 0
    assert counted["macs"] == json.loads(capsys.readouterr().out)["macs"]
