"""Attention of pruned networks whose heads have different widths: every export says what the network says."""

from __future__ import annotations

import pytest

from dnas.compress.asked import Asked
from dnas.compress.ptq import ptq
from dnas.cost.count import count
from dnas.export import parity
from dnas.export.write import export
from dnas.files import to_json
from dnas.grammar.read import space_from_data
from dnas.learning import weights
from tests.compress.small import QUIET, setup_of

from .networks import UNEVEN, noisy

ZEROS = {
    "uneven tokens": 10 * 10 * (6 - 4 + 4 - 3 + 12 - 7),
    "uneven windows": 4 * 16 * 16 * (6 - 4) + 4 * 4 * 4 * (4 - 3),
    "uneven streams": 10 * 10 * (6 - 5 + 6 - 5) + 9 * 4 * 4 * (4 - 3),
    "uneven attended": 144 * 144 * (32 - 19) + 16 * 16 * (48 - 30) + 36 * 144 * (10 - 6) + 36 * 36 * (6 - 5),
    "uneven biased": 16 * 4 * (6 - 4) + 4 * 4 * (6 - 4),
}
"""Windows times queries times keys times the channels that heads lack to be as wide as the widest."""


@pytest.fixture(scope="module", params=UNEVEN)
def files(request, tmp_path_factory):
    """The network, and the files of its description and of random weights: initial ones attend to all alike."""
    return written(tmp_path_factory.mktemp("uneven"), UNEVEN[request.param])


def written(folder, data, variables=None):
    space = space_from_data(data, data["name"])
    variables = variables or parity.settled(space, noisy(space))
    (folder / "a.json").write_text(to_json(data))
    weights.save(folder / "w.safetensors", space, variables)
    return space, str(folder / "a.json"), folder / "w.safetensors"


def exported(files, to, out):
    """What the command says that the export is like."""
    _, arch, stored = files
    checked, size, *_ = export(arch, to, stored, out)
    assert checked.startswith("checked in ")
    return size


def test_onnx(files, tmp_path):
    """Its graph has zeros where heads lack channels, and the command says how many MACs they are."""
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    space, zeros = files[0], ZEROS[files[0].name]
    wanted = f"{count(space)['macs'] + zeros:,} MACs by the graph's own shapes, {zeros:,} of them with zeros"
    assert wanted in exported(files, "onnx", tmp_path / "net.onnx")


def test_onnx_after_quantisation(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs dnas[onnx]")
    done = ptq(setup_of(UNEVEN["uneven tokens"], tmp_path), Asked("ptq", scales="min-max"), None, QUIET)
    files = written(tmp_path, done.data, done.variables)
    assert f"{ZEROS['uneven tokens']:,} of them with zeros" in exported(files, "onnx", tmp_path / "net.onnx")


def test_flax(files, tmp_path):
    exported(files, "flax", tmp_path / "net.py")


def test_torch(files, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    exported(files, "torch", tmp_path / "net.py")
