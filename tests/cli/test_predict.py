"""dnas.predict, an ONNX file and a script without dnas say of every picture what dnas.evaluate counts."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnas.cli import entry
from dnas.cli.evaluate import Arguments as Evaluation
from dnas.cli.evaluate import main as evaluate
from dnas.cli.predict import Arguments, main
from dnas.data.preprocess import Preprocessing
from dnas.export import parity
from dnas.export.write import export
from dnas.files import to_json
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.grammar.read import space_from_data
from dnas.learning import weights
from tests.pictures import CLASSES, draw

pytest.importorskip("PIL", reason="needs dnas[data]")
DOCS = Path(__file__).parents[2] / "docs" / "deploy.md"
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs dnas[onnx]")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """40 test pictures, and as many to train on."""
    folder = tmp_path_factory.mktemp("photos")
    draw(folder / "train", 42, seed=1)
    draw(folder / "test", 40, seed=2)
    return folder


def found(folder: Path, side: int, grid: int, channels: int = 3) -> Path:
    """A result folder with random weights, of a network of input `grid` that was searched on pictures of `side`."""
    data = {
        "name": "small", "input": {"channels": channels, "classes": 3, "resolution": grid},
        "trunk": [{"conv": {"kernel": 3, "out": 12, "stride": 2, "act": "relu"}}, {"mbconv": {"out": 16}}],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    space = space_from_data(data, "small")
    mean, std = (0.4, 0.3, 0.2)[:channels], (0.25, 0.3, 0.2)[:channels]
    record = {
        "preprocessing": Preprocessing(side, channels, mean, std).taken_at(grid).to_json(), "labels": list(CLASSES),
        "search": {"proxy": {"resolution": grid, "channels": channels, "classes": 3}},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / ARCHITECTURE).write_text(to_json(data | record))
    weights.save(folder / "weights.safetensors", space, parity.initial(space, seed=3))
    return folder


def printed(capsys, command, arguments) -> dict:
    assert entry.call(command, arguments) == 0
    return json.loads(capsys.readouterr().out)


def guesses(report: dict) -> list[tuple[str, str]]:
    return [(row["file"], row["top"][0]["class"]) for row in report["images"]]


def by_script(model: Path, files: list[str]) -> list[tuple[str, str]]:
    """What the script of the documentation says, in a process that finds no dnas."""
    script = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert script is not None
    command = [sys.executable, "-I", "-c", script[1], str(model), *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=model.parent)
    assert done.returncode == 0, done.stderr
    return [tuple(line.split("\t")[:2]) for line in done.stdout.splitlines()]  # type: ignore[misc]


def agree(run: Path, photos: Path, capsys) -> list[tuple[str, str]]:
    """All four ways, picture by picture; what they say."""
    model = run / "exported" / "net.onnx"
    export(str(run), "onnx", out=model)
    own = printed(capsys, main, Arguments((str(run), str(photos / "test")), json=True))
    exported = printed(capsys, main, Arguments((str(photos / "test"),), onnx=model, json=True))
    said = guesses(own)
    assert guesses(exported) == said and len(said) == 40
    for a, b in zip(own["images"], exported["images"], strict=True):
        shares = [{g["class"]: g["probability"] for g in row["top"]} for row in (a, b)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-5)
    assert by_script(model, [file for file, _ in said]) == said
    counts = np.zeros((3, 3), int)
    for file, guess in said:
        counts[CLASSES.index(Path(file).parent.name), CLASSES.index(guess)] += 1
    report = printed(capsys, evaluate, Evaluation(str(run), data=str(photos), json=True))
    assert report["confusion"] == counts.tolist()
    return said


@needs_onnx
@pytest.mark.parametrize("grid", (24, 18, 13))
def test_every_way_says_the_same(grid, photos, tmp_path, capsys):
    said = agree(found(tmp_path / "run", 24, grid), photos, capsys)
    assert len({guess for _, guess in said}) > 1


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize("space", ("tiny", "fixed"))
def test_every_way_says_the_same_of_a_search(space, photos, tmp_path, capsys):
    """Files that the search wrote; `tiny` searches the resolution."""
    from dnas.cli.search import Arguments as Search
    from dnas.cli.search import main as search
    from dnas.grammar.catalogue import find_space

    file = tmp_path / f"{space}.yaml"
    text = find_space("tiny").read_text()
    file.write_text(text if space == "tiny" else text.replace("{choices: [16, 24, 32]}", "32"))
    run = tmp_path / "run"
    asked = Search(str(file), budget=("150kFLOPs",), preset="smoke", data=str(photos), out=run)
    assert entry.call(search, asked) == 0
    capsys.readouterr()
    agree(run, photos, capsys)
    assert (run / "preprocessor_config.json").is_file()


@needs_onnx
def test_grey_networks(photos, tmp_path, capsys):
    run = found(tmp_path / "run", 20, 20, channels=1)
    agree(run, photos, capsys)
    named = Arguments((str(run), str(photos / "test" / "cross")), onnx=run / "exported" / "net.onnx", json=True)
    assert len(printed(capsys, main, named)["images"]) == 13


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(photos, tmp_path, capsys):
    run = found(tmp_path / "run", 24, 24)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    photo = next((photos / "test" / "cross").iterdir())
    paths = (str(run), str(tmp_path / "bad.png"), str(photo), str(tmp_path / "gone.jpg"))
    assert entry.call(main, Arguments(paths, top=2)) == 2
    told = capsys.readouterr()
    assert told.out.startswith(f"{photo}: ") and told.out.count("%") == 2 and len(told.out.splitlines()) == 1
    assert "bad.png: cannot be read: cannot identify image file" in told.err
    assert "gone.jpg: cannot be read: no such file" in told.err and "2 of 3 pictures" in told.err
    assert entry.call(main, Arguments(paths, json=True)) == 2
    rows = json.loads(capsys.readouterr().out)["images"]
    assert ["error" in row for row in rows] == [True, False, True]
    shares = [guess["probability"] for guess in rows[1]["top"]]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and shares == sorted(shares, reverse=True)


def test_folders_say_what_is_left_out(photos, tmp_path, capsys):
    run, folder = found(tmp_path / "run", 24, 24), tmp_path / "mixed"
    draw(folder, 3)
    (folder / "notes.txt").write_text("x")
    assert entry.call(main, Arguments((str(run), str(folder)))) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3 and "1 file of other kinds left out" in told.err
    (tmp_path / "none").mkdir()
    assert entry.call(main, Arguments((str(run), str(tmp_path / "none")))) == 2
    assert "no pictures in this folder" in capsys.readouterr().err


def refused(capsys, arguments: Arguments) -> str:
    assert entry.call(main, arguments) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


def test_mistakes_are_one_line(tmp_path, capsys):
    run = found(tmp_path / "run", 24, 24)
    assert "RUN: nothing given" in refused(capsys, Arguments(()))
    assert "nothing to look at" in refused(capsys, Arguments((str(run),)))
    assert "--top" in refused(capsys, Arguments((str(run), "x.png"), top=0))
    assert "--onnx or --weights" in refused(capsys, Arguments(("x.png",), onnx=Path("a"), weights=Path("b")))
    assert "no weights beside it" in refused(capsys, Arguments(("fbnet_c", "x.png")))
    document = json.loads((run / ARCHITECTURE).read_text())
    del document["preprocessing"]
    (run / ARCHITECTURE).write_text(json.dumps(document))
    assert "does not record how pictures reach it" in refused(capsys, Arguments((str(run), "x.png")))


@needs_onnx
def test_onnx_files_that_do_not_fit(tmp_path, capsys):
    run, other = found(tmp_path / "run", 24, 24), found(tmp_path / "other", 24, 18)
    export(str(run), "onnx", out=tmp_path / "net.onnx")
    error = refused(capsys, Arguments((str(other), "x.png"), onnx=tmp_path / "net.onnx"))
    assert "another preprocessing or other classes" in error
    (tmp_path / "bad.onnx").write_bytes(b"x" * 100)
    assert "not an ONNX file" in refused(capsys, Arguments(("x.png",), onnx=tmp_path / "bad.onnx"))
    assert "no such file" in refused(capsys, Arguments(("x.png",), onnx=tmp_path / "gone.onnx"))
    export("fbnet_c", "onnx", out=tmp_path / "plain.onnx")
    assert "no dnas.preprocessing" in refused(capsys, Arguments(("x.png",), onnx=tmp_path / "plain.onnx"))


def test_options_may_stand_between_pictures(tmp_path):
    line = ["runs/x", "--top", "2", "a.png", "--json", "b.png", "--onnx=net.onnx", "c.png"]
    read = entry.parse(Arguments, line)
    assert read == replace(Arguments(("runs/x", "a.png", "b.png", "c.png")), top=2, json=True, onnx=Path("net.onnx"))
