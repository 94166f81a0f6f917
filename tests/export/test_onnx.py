"""ONNX: the same numbers as the network and the supernet, the same MACs as dnas.count, any batch."""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cli import entry
from dnas.cli.export import Arguments, main
from dnas.cost.count import count
from dnas.errors import MissingExtra, UserError
from dnas.export import parity
from dnas.export.trace import trace, weights_of
from dnas.grammar.catalogue import load_space, published_names
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.maths.grids import grid_index
from dnas.nn.gates import Layout, one_hot
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Supernet

from .networks import GROUPED, network, noisy, tiny

onnx = pytest.importorskip("onnx", reason="needs dnas[onnx]")
pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")

from dnas.export import onnx as onnx_export  # noqa: E402
from dnas.export.count_onnx import macs  # noqa: E402

NETWORKS = (
    "grouped", "attended", "tokens", "windows", "streams", "biased", "distilled", "slimmed", "slimmed streams",
    "one left", "tiny-0", "tiny-3", "fbnet_96@64",
)  # fmt: skip


def limit(name: str) -> float:
    """Attention amplifies no rounding of its own: there the exports agree ten times closer than is asked for."""
    return 1e-5 if name == "attended" or name.startswith("efficientformer") else parity.LIMIT


def runner(space, variables):
    model = onnx_export.model(trace(space), weights_of(variables))
    session = onnx_export.session(model.SerializeToString())
    return lambda images: session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_same_numbers_and_macs(name):
    space, variables = network(name)
    assert parity.check(space, variables, runner(space, variables), "ONNX", batch=3) < limit(name)
    model = onnx_export.model(trace(space), weights_of(variables))
    assert macs(model) == count(space)["macs"]
    kinds = {node.output[0]: node.op_type for node in model.graph.node}
    before = {kinds[node.input[0]] for node in model.graph.node if node.op_type == "BatchNormalization"}
    # CMT's norms follow activations; all others move into the convolution before them.
    assert before == ({"Gelu"} if name == "biased" else set())


@pytest.mark.parametrize("name", published_names())
def test_macs_of_every_published_network(name):
    space = load_space(name)
    model = onnx_export.model(trace(space), lambda name, shape: np.zeros(shape, np.float32), check=False)
    assert macs(model) == count(space)["macs"]


@pytest.mark.slow
@pytest.mark.parametrize("name", (
    "fbnetv2_f1@64", "fbnetv3_a@64", "fbnet_b1_caffe2@64", "efficientformer_l1@224", "efficientformerv2_s0@224",
))  # fmt: skip
def test_same_numbers_of_published_networks(name):
    space, variables = network(name)
    assert parity.check(space, variables, runner(space, variables), "ONNX") < limit(name)


@pytest.mark.parametrize("seed", (0, 5))
def test_one_hot_supernet_equals_the_network_equals_onnx(seed):
    found, space, assignment = tiny(seed)
    wide = noisy(space)
    side, full = found.network.resolution.value, space.resolution.max()
    images = np.random.default_rng(seed).standard_normal((2, full, full, 3)).astype(np.float32)
    gates = one_hot(Layout(space.choices), assignment)
    supernet = np.asarray(jax.jit(lambda x: Supernet(space).apply(wide, x, gates)[0])(jnp.asarray(images)))
    index = grid_index(side, full)
    small = images[:, index][:, :, index]
    variables = inherit(wide, found)
    assert parity.difference(parity.reference(found.network, variables, small), supernet) < parity.LIMIT
    assert parity.difference(runner(found.network, variables)(small), supernet) < parity.LIMIT


def test_a_run_of_token_blocks_stays_in_rows():
    """One turn into rows before the first and none after the last: the head takes its mean over rows."""
    model = onnx_export.model(trace(load_space("efficientformer_l7")), lambda _, shape: np.zeros(shape, np.float32))
    turns = [node for node in model.graph.node if node.name.startswith(("rows_", "columns_"))]
    assert len(turns) == 1


def test_names_of_constants_are_of_no_result():
    """The bounds of ReLU6 were `clip_0` and `clip_6`, and the sixth result `clip_6` where that is a ReLU6."""
    conv = {"conv": {"out": 4, "act": "relu6", "norm": False, "repeat": 4}}
    head = [{"pool": {}}, {"linear": {"out": "$classes"}}]
    size = {"channels": 1, "classes": 1, "resolution": 3}
    space = space_from_data({"name": "clipped", "input": size, "trunk": [conv], "head": head}, "clipped")
    variables = parity.initial(space)
    assert parity.check(space, variables, runner(space, variables), "ONNX") < parity.LIMIT
    for name in NETWORKS:
        space, variables = network(name)
        graph = onnx_export.model(trace(space), weights_of(variables), check=False).graph
        constants = {constant.name for constant in graph.initializer}
        results = {result for node in graph.node for result in node.output}
        forms = {re.sub(r"_?\d+$", "", text) for text in results}
        assert not {c for c in constants if re.sub(r"_?\d+$", "", c) in forms and "." not in c}, name


def test_any_batch():
    space, variables = network("tiny-0")
    run = runner(space, variables)
    images = parity.images(space, 5)
    whole = run(images)
    assert whole.shape == (5, 10)
    np.testing.assert_allclose(np.concatenate([run(images[:1]), run(images[1:])]), whole, rtol=1e-4, atol=1e-5)


def test_a_difference_is_refused():
    space, variables = network("tiny-0")
    run = runner(space, variables)
    with pytest.raises(UserError, match="differs from the network by"):
        parity.check(space, variables, lambda x: run(x) + 0.01, "ONNX")


def test_a_norm_by_itself_stays_a_norm():
    data = GROUPED | {
        "trunk": [{"conv": {"kernel": 3, "out": 4, "norm": False, "act": "relu"}}],
        "head": GROUPED["head"][1:],
    }
    space = space_from_data(data, "plain")
    variables = parity.initial(space)
    assert parity.check(space, variables, runner(space, variables), "ONNX") < parity.LIMIT


def test_the_graph_takes_a_grid_itself():
    """Rows and columns floor(i * 13 / 9) of images of 13 px; its MACs are the network's."""
    space, variables = network("grouped")
    model = onnx_export.model(trace(space), weights_of(variables), full=13)
    assert [node.op_type for node in model.graph.node[:2]] == ["Gather", "Gather"]
    assert macs(model) == count(space)["macs"]
    session = onnx_export.session(model.SerializeToString())
    x = parity.images(space, 3, full=13)
    at = [i * 13 // 9 for i in range(9)]
    wanted = parity.reference(space, variables, x[:, at][:, :, at])
    found = session.run(None, {"images": x.transpose(0, 3, 1, 2)})[0]
    assert parity.difference(found, wanted) < parity.LIMIT
    np.testing.assert_array_equal(parity.reference(space, variables, x, 13), wanted)


def test_command_line(tmp_path, capsys):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(GROUPED))
    out = tmp_path / "net.onnx"
    assert entry.call(main, Arguments(str(path), "onnx", out=out)) == 0
    said = capsys.readouterr().out
    assert "checked in onnxruntime" in said and "as dnas.count" in said and "random initial weights" in said
    onnx.checker.check_model(out.read_bytes(), full_check=True)


def test_a_space_is_no_architecture(tmp_path, capsys):
    assert entry.call(main, Arguments("tiny", "onnx", out=tmp_path / "x.onnx")) == 2
    assert "not one architecture" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_result_folder_is_exported_with_its_weights(tmp_path, capsys):
    """The exported graph gives the numbers of the folder's own weights; weights of another architecture are refused."""
    space, variables = network("tiny-0")
    other, others = network("grouped")
    result = tmp_path / "found"
    result.mkdir()
    (result / "architecture.json").write_text(json.dumps(architecture(space, {}).data))
    weights.save(result / "weights.safetensors", space, variables)
    out = tmp_path / "net.onnx"
    assert entry.call(main, Arguments(str(result), "onnx", out=out)) == 0
    assert "found/weights.safetensors" in capsys.readouterr().out
    images = parity.images(space)
    session = onnx_export.session(out.read_bytes())
    found = session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0]
    assert parity.difference(found, parity.reference(space, variables, images)) < parity.LIMIT

    weights.save(tmp_path / "other.safetensors", other, others)
    refused = tmp_path / "refused.onnx"
    assert entry.call(main, Arguments(str(result), "onnx", tmp_path / "other.safetensors", refused)) == 2
    error = capsys.readouterr().err
    assert "other.safetensors" in error and "weights of another architecture" in error and len(error.splitlines()) == 1
    assert entry.call(main, Arguments(str(tmp_path), "onnx", out=refused)) == 2
    assert "no architecture.json in this folder" in capsys.readouterr().err
    assert not refused.exists()


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"install dnas\[onnx\]"):
        onnx_export.model(trace(network("tiny-0")[0]), weights_of(network("tiny-0")[1]))
