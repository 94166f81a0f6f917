"""Every space and every published network: supernet, network, ONNX and torch give the same numbers from one input."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from dnas.cost.count import count
from dnas.export import flax_code, parity, torch_code
from dnas.export.trace import trace, weights_of
from dnas.grammar.catalogue import load_space, published_names, space_names
from dnas.graph.architecture import architecture
from dnas.maths.grids import grid_index
from dnas.nn.gates import Layout, one_hot
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Supernet

from .networks import awake, network, noisy

onnx = pytest.importorskip("onnx", reason="needs dnas[onnx]")
pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")

from dnas.export import onnx as onnx_export  # noqa: E402
from dnas.export.count_onnx import macs  # noqa: E402

SEARCHABLE = sorted(set(space_names()) - set(published_names()))
QUICK = {
    "tiny",
    "fashion",
    "efficientformer_tiny",
    "efficientformerv2_tiny",
    "autoformer_mini",
    "s3_mini",
    "tnt_mini",
    "cmt_mini",
}


def marked(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def executed(source: str) -> dict:
    """Names of an exported file; this file's `from __future__` is not its own."""
    names: dict = {"__name__": "exported"}
    exec(compile(source, "exported", "exec", dont_inherit=True), names)
    return names


def agree(space, variables, images, wanted):
    """ONNX (and its own count of MACs), the flax file and, where it is installed, the torch file."""
    graph, weights = trace(space), weights_of(variables)
    model = onnx_export.model(graph, weights)
    assert macs(model) == count(space)["macs"]
    session = onnx_export.session(model.SerializeToString())
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    found = {"ONNX": session.run(None, {"images": channels_first})[0]}
    found |= by_files(graph, weights, images, channels_first)
    differences = {what: parity.difference(values, wanted) for what, values in found.items()}
    assert max(differences.values()) < parity.LIMIT, differences


def by_files(graph, weights, images, channels_first):
    """Of the flax file and, where torch is installed, the torch file."""
    found = {}
    module = executed(flax_code.source(graph, title="n", weights_file="w"))
    tree = unflatten_dict(flax_code.tensors(graph, weights), sep="/")
    found["flax"] = np.asarray(jax.jit(lambda x: module["Network"]().apply(tree, x))(images))
    try:
        import torch
    except ImportError:
        pass
    else:
        net = executed(torch_code.source(graph, title="n", weights_file="w"))["network"]()
        net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in torch_code.tensors(graph, weights).items()})
        with torch.inference_mode():
            found["torch"] = net.eval()(torch.from_numpy(channels_first)).numpy()
    return found


@pytest.mark.parametrize("name", marked(SEARCHABLE, QUICK))
def test_a_network_of_each_space(name):
    """A random network by weights sliced from a supernet: the supernet at its one-hot gates says what is right."""
    space = load_space(name)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    assignment = {c.name: int(generator.integers(len(c))) for c in space.choices}
    found = architecture(space, assignment)
    side, full = found.network.resolution.value, space.resolution.max()
    images = generator.standard_normal((2, full, full, space.channels)).astype(np.float32)
    wide = awake(noisy(space))
    gates = one_hot(Layout(space.choices), assignment)
    supernet = np.asarray(jax.jit(lambda x: Supernet(space).apply(wide, x, gates)[0])(jnp.asarray(images)))
    index = grid_index(side, full)
    small, variables = images[:, index][:, :, index], inherit(wide, found)
    assert parity.difference(parity.reference(found.network, variables, small), supernet) < parity.LIMIT
    agree(found.network, variables, small, supernet)


def side_of(name: str) -> int:
    """Convolutions are the same at any side; attention's tables belong to one."""
    return load_space(name).resolution.value if name.startswith("efficientformer") else 64


@pytest.mark.parametrize("name", marked(published_names(), {"fbnet_96", "fbnetv2_f1"}))
def test_each_published_network(name):
    space, variables = network(f"{name}@{side_of(name)}")
    images = parity.images(space)
    agree(space, variables, images, parity.reference(space, variables, images))


@pytest.mark.parametrize("name", SEARCHABLE)
def test_macs_of_the_corners_of_each_space(name):
    """The exported graph of the first and the last option of everything, counted by itself."""
    space = load_space(name)
    for last in (False, True):
        found = architecture(space, {c.name: len(c) - 1 if last else 0 for c in space.choices}).network
        model = onnx_export.model(trace(found), lambda _, shape: np.zeros(shape, np.float32), check=False)
        assert macs(model) == count(found)["macs"]
