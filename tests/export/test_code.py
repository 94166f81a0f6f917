"""Exported Python files: run as a user would run them, the same numbers as the network."""

import ast
import json
import sys

import numpy as np
import pytest

from dnas.export import flax_code, parity, torch_code
from dnas.export.structure import structure
from dnas.export.trace import trace, weights_of
from dnas.export.write import export

from .networks import GROUPED, network

NETWORKS = (
    "grouped", "attended", "tokens", "windows", "streams", "biased", "distilled", "slimmed", "slimmed streams",
    "one left", "tiny-0", "tiny-3", "fbnet_96@64",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    space, variables = network(name)
    graph = trace(space)
    module: dict = {}
    exec(torch_code.source(graph, title=name, weights_file="w"), module)
    model = module["network"]()
    tensors = torch_code.tensors(graph, weights_of(variables))
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})

    def run(images):
        with torch.inference_mode():
            return model.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()

    assert parity.check(space, variables, run, "torch") < parity.LIMIT


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("tiny-0", "fbnet_96@64")])
def test_flax(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space, variables = network(name)
    graph = trace(space)
    source = flax_code.source(graph, title=name, weights_file="w")
    module: dict = {"__name__": "exported"}
    exec(source, module)
    from flax.traverse_util import unflatten_dict

    tree = unflatten_dict(flax_code.tensors(graph, weights_of(variables)), sep="/")
    assert parity.check(space, variables, lambda x: module["Network"]().apply(tree, x), "flax") < parity.LIMIT


@pytest.mark.parametrize("name", ("grouped", "fbnet_96@64", "fbnetv2_f1@64", "efficientformerv2_l@224"))
@pytest.mark.parametrize("code", (torch_code, flax_code))
def test_short_plain_and_free_of_dnas(name, code):
    from dnas.grammar.catalogue import load_space

    space = network(name)[0] if name == "grouped" else load_space(name.partition("@")[0])
    source = code.source(trace(space), title=name, weights_file="w")
    tree = ast.parse(source)
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not any(str(m).startswith("dnas") for m in imported)
    assert len(source.splitlines()) < 300
    assert max(len(line) for line in source.splitlines()) <= 130


def test_blocks_alike_share_a_class():
    from dnas.grammar.catalogue import load_space

    shapes = structure(trace(load_space("fbnet_96")), torch_code.WRITERS, "PyTorch")
    assert len({id(s) for s in shapes.values()}) < len(shapes) / 2
    one = shapes["trunk.9"]
    assert one.arguments["trunk.9"] == {"inputs": 72, "hidden": 432, "kernel": 5}


@pytest.mark.parametrize("name", ("grouped", "attended"))
def test_stablehlo(name):
    pytest.importorskip("flatbuffers", reason="needs dnas[stablehlo]")
    from dnas.export import stablehlo

    space, variables = network(name)
    data = stablehlo.serialized(space, variables)
    assert parity.check(space, variables, lambda x: stablehlo.run(data, x), "StableHLO", batch=3) < parity.LIMIT
    from jax import export as jax_export

    assert set(jax_export.deserialize(bytearray(data)).platforms) == {"cpu", "cuda", "tpu"}


def test_litert():
    pytest.importorskip("litert_converter", reason="litert-converter is not installed")
    from dnas.export import litert

    space, variables = network("grouped")
    data = litert.converted(space, variables)
    assert parity.check(space, variables, lambda x: litert.run(data, x), "LiteRT", batch=3) < parity.LIMIT


def test_litert_missing(tmp_path, monkeypatch):
    from dnas.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "litert_converter", None)
    monkeypatch.setitem(sys.modules, "litert_converter.converter_api_ext", None)
    with pytest.raises(MissingExtra, match="pip install --no-deps litert-converter"):
        export("fbnet_96", "litert", out=tmp_path / "x.tflite")
    assert list(tmp_path.iterdir()) == []


def test_files_and_weights(tmp_path):
    from dnas.learning import weights

    space, variables = network("tiny-0")
    from dnas.files import to_json

    arch, stored = tmp_path / "a.json", tmp_path / "w.safetensors"
    arch.write_text(to_json(space.document.data))
    weights.save(stored, space, variables)
    lines = export(str(arch), "flax", stored, tmp_path / "net.py")
    assert any("differs by at most" in line for line in lines) and not any("random" in line for line in lines)
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", "w.safetensors", "net.py", "net.safetensors"}
    import safetensors.numpy

    written = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    found = written["params/head_2/linear/kernel"]
    np.testing.assert_array_equal(found, np.asarray(variables["params"]["head.2.linear.weight"]))


def test_a_file_says_what_it_wants_to_see(tmp_path):
    """Preprocessing, grid and class names of a found network stand in the file, whatever the names hold."""
    Image = pytest.importorskip("PIL.Image", reason="needs dnas[data]")
    from dnas.data.picture import read_picture
    from dnas.data.preprocess import Preprocessing, prepare

    mean, std = (0.5, 0.25, 0.125), (1.0, 0.2, 0.3)
    preprocessing = Preprocessing(12, 3, mean, std).taken_at(9)
    labels = ["T-shirt/top", '"""quoted\\', "\U0001f600 caf\xe9"]
    size = {"channels": 3, "classes": 3, "resolution": 9}
    record = {"input": size, "preprocessing": preprocessing.to_json(), "labels": labels, "training": {}}
    file, picture = tmp_path / "net.json", tmp_path / "photo.png"
    file.write_text(json.dumps(GROUPED | record))
    export(str(file), "flax", out=tmp_path / "net_flax.py")
    module: dict = {"__name__": "exported"}
    exec((tmp_path / "net_flax.py").read_text(), module)
    assert module["CLASSES"] == labels
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (31, 20, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").save(picture, exif=exif)
    wanted = prepare(read_picture(picture, 12).pixels[None], preprocessing)
    np.testing.assert_allclose(module["preprocess"](Image.open(picture)), wanted, atol=1e-6)
