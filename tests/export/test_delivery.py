"""What an export says of itself: its costs at what input, how pictures reach it, where its files go."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pytest

from dnas.data.hugging_face import PROCESSOR, processor_config
from dnas.data.preprocess import Preprocessing
from dnas.errors import UserError
from dnas.export.write import export
from dnas.files import to_json
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.runs.result import read_result

from .networks import GROUPED

LABELS = ["a", "b", "c"]


def result(folder, side=12, grid=9, channels=2, **own):
    """A network that counts its costs at the input `own`, found on other images."""
    size = {"channels": channels, "classes": 3, "resolution": grid} | own
    ones = (1.0,) * channels
    record = {
        "input": size, "labels": LABELS,
        "preprocessing": Preprocessing(side, channels, ones, ones).taken_at(grid).to_json(),
        "search": {"proxy": {"resolution": grid, "channels": channels, "classes": 3}},
    }  # fmt: skip
    folder.mkdir()
    (folder / ARCHITECTURE).write_text(to_json(GROUPED | record))
    read = read_result(folder)
    from dnas.export import parity
    from dnas.learning import weights

    weights.save(folder / "weights.safetensors", read.network, parity.initial(read.network))
    return folder


def test_counted_and_delivered_are_told_apart(tmp_path):
    here, there = result(tmp_path / "here"), result(tmp_path / "there", channels=1, resolution=24, classes=1000)
    same = export(str(here), "flax", out=tmp_path / "one")
    assert any("9 px x 2 channels, 3 classes, as dnas.count" in line for line in same)
    lines = export(str(there), "flax", out=tmp_path / "two")
    delivered, counted = (next(line for line in lines if line.startswith(word)) for word in ("delivered", "counted"))
    assert "9 px x 1 channel, 3 classes (a grid of images of 12 px)" in delivered
    assert "24 px x 1 channel, 1000 classes" in counted and not any("as dnas.count" in line for line in lines)
    assert len({re.search(r"[0-9.]+ k?FLOPs", line)[0] for line in (delivered, counted)}) == 2  # type: ignore[index]


def test_files_go_by_the_folder_and_are_not_replaced(tmp_path, monkeypatch):
    run, other = result(tmp_path / "mine"), result(tmp_path / "other", side=13)
    monkeypatch.chdir(tmp_path)
    export(str(run), "flax")
    names = {"mine_flax.py", "mine_flax.safetensors", f"mine_flax.{PROCESSOR}"}
    assert names <= {p.name for p in tmp_path.iterdir()}
    export(str(run), "flax", out=tmp_path / "out")
    inside = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert set(inside) == {"mine_flax.py", "mine_flax.safetensors", PROCESSOR}
    export(str(run), "flax", out=tmp_path / "out")  # the same again
    with pytest.raises(UserError, match="is there already.*--overwrite"):
        export(str(other), "flax", out=tmp_path / "out")
    assert inside == {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    export(str(other), "flax", out=tmp_path / "out", overwrite=True)
    assert json.loads((tmp_path / "out" / PROCESSOR).read_text())["dnas"]["preprocessing"]["subgrid"]["of"] == 13


@pytest.mark.parametrize("name", ('quo"te', 'three """ and \\n', "it's {one}\nof ünï"))
@pytest.mark.parametrize("target", ("flax", "torch"))
def test_any_name_of_a_folder_can_stand_in_a_source_file(name, target, tmp_path):
    run = result(tmp_path / name, channels=3)
    export(str(run), target, out=tmp_path / "out")
    text = (tmp_path / "out" / f"{name}_{target}.py").read_text()
    weights = f"{name}_{target}.safetensors"
    tree = ast.parse(text)
    names = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert weights in names and (tmp_path / "out" / weights).is_file()
    (told,) = re.findall(r"load(?:_file)?\((.*?)\)+$", ast.get_docstring(tree) or "", re.MULTILINE)
    assert ast.literal_eval(told) == weights


@pytest.mark.parametrize("target", ("onnx", "stablehlo", "litert"))
def test_graphs_take_the_grid(target, tmp_path):
    """`export` compares with the network on images of 12 px; the shape of the input is the proof."""
    pytest.importorskip({"onnx": "onnx", "stablehlo": "flatbuffers", "litert": "litert_converter"}[target])
    lines = export(str(result(tmp_path / "mine")), target, out=tmp_path / "out")
    assert any("12, 12" in line for line in lines if line.startswith("input"))


@pytest.mark.parametrize("channels", (1, 3))
def test_hugging_face_reads_the_same_pixels(channels, tmp_path):
    processors = pytest.importorskip("transformers", reason="transformers is not installed")
    Image = pytest.importorskip("PIL.Image", reason="needs dnas[data]")
    from dnas.data.picture import read_picture
    from dnas.data.preprocess import prepare

    p = Preprocessing(24, channels, (0.5, 0.4, 0.3)[:channels], (0.2, 0.3, 0.4)[:channels])
    (tmp_path / PROCESSOR).write_text(to_json(processor_config("x", p, LABELS)))
    processor = processors.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    for n, size in enumerate(((60, 41), (31, 90), (24, 24), (20, 23))):
        shape = (*size, 3) if channels == 3 else size
        image = Image.fromarray(np.random.default_rng(n).integers(0, 256, shape, np.uint8))
        image.save(tmp_path / "photo.png")
        wanted = np.asarray(prepare(read_picture(tmp_path / "photo.png", 24, channels).pixels[None], p))
        found = processor(image, return_tensors="np")["pixel_values"]
        np.testing.assert_allclose(found, wanted.transpose(0, 3, 1, 2), atol=2e-6)


def test_a_network_of_other_channels_has_no_image_processor():
    config = processor_config("x", Preprocessing(8, 2, (0.0, 0.0), (1.0, 1.0)), LABELS)
    assert list(config) == ["dnas"] and config["dnas"]["labels"] == LABELS
