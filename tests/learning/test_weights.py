"""Weights as files: exact there and back, and one clear line for anything that does not fit."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from dnas.errors import UserError
from dnas.grammar.read import space_from_data
from dnas.learning import weights
from dnas.nn.supernet import abstract_variables

DATA = {
    "name": "small",
    "input": {"channels": 1, "classes": 2, "resolution": 4},
    "trunk": [{"conv": {"kernel": 3, "out": 3, "act": "relu"}}],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
SPACE = space_from_data(DATA, "small.json")


def variables():
    generator = np.random.default_rng(0)
    shapes = abstract_variables(SPACE)
    return {g: {n: generator.random(s.shape, np.float32) for n, s in v.items()} for g, v in shapes.items()}


@pytest.fixture
def path(tmp_path):
    weights.save(tmp_path / "w.safetensors", SPACE, variables())
    return tmp_path / "w.safetensors"


def test_there_and_back(path):
    found, wanted = weights.load(path, SPACE), variables()
    assert found.keys() == wanted.keys()
    for group, leaves in wanted.items():
        assert found[group].keys() == leaves.keys()
        for name, value in leaves.items():
            np.testing.assert_array_equal(np.asarray(found[group][name]), value)


def test_same_bytes_and_names(path, tmp_path):
    weights.save(tmp_path / "again", SPACE, variables())
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert "params/trunk.0.conv.weight" in safetensors.numpy.load_file(path)


def test_resolution_and_name_do_not_matter(path):
    other = DATA | {"name": "other", "input": DATA["input"] | {"resolution": 8}}
    loaded = weights.load(path, space_from_data(other, "other.json"))
    assert jax.tree.structure(loaded) == jax.tree.structure(weights.load(path, space_from_data(DATA, "same.json")))


def changed(path, change):
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def drop(tensors):
    del tensors["params/trunk.0.norm.shift"]


def add(tensors):
    tensors["params/more"] = np.zeros(1, np.float32)


def reshape(tensors):
    tensors["params/head.1.linear.bias"] = np.zeros(5, np.float32)


def half(tensors):
    tensors["params/head.1.linear.bias"] = np.zeros(2, np.float16)


def spoil(tensors):
    tensors["params/head.1.linear.bias"][0] = np.nan


def negative(tensors):
    tensors["batch_stats/trunk.0.norm.var"][0] = -1


@pytest.mark.parametrize(
    "change, message",
    [
        (negative, r"'batch_stats/trunk.0.norm.var' holds variances below 0"),
        (drop, r"another architecture.*'params/trunk.0.norm.shift' is missing"),
        (add, r"another architecture.*'params/more' is not part of it"),
        (reshape, r"another architecture.*'params/head.1.linear.bias' has shape \[5\], not \[2\]"),
        (half, "F16.*float32"),
        (spoil, "not finite"),
    ],
)
def test_what_does_not_fit_is_named(path, change, message):
    changed(path, change)
    with pytest.raises(UserError, match=f"w.safetensors.*{message}"):
        weights.load(path, SPACE)


def test_another_activation_is_another_architecture(path):
    other = DATA | {"trunk": [{"conv": {"kernel": 3, "out": 3, "act": "hswish"}}]}
    with pytest.raises(UserError, match=r"another architecture \(of 'small'\).*all shapes agree"):
        weights.load(path, space_from_data(other, "other.json"))


def test_unreadable_files(path, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        weights.load(tmp_path / "nothing", SPACE)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        weights.load(path, SPACE)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        weights.load(path, SPACE)
