"""Numeric forward passes of the oracle file: one block of each family member, with weights filled by its rule."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.nn.forward import Forward
from dnas.nn.gates import Gates, Layout
from dnas.nn.lookup import Requests, StackedLookup
from dnas.ops.tensor import Value

from .oracle import entries

HEADS, KEY, VALUE = 8, 32, 128
NAMES = ("query", "key", "value")
LEAVES = {"gamma": "scale", "weight": "weight", "bias": "bias"}
V1_CONV = {"ls1": "mixer_scale", "ls2": "mlp_scale", "mlp.fc1": "expand", "mlp.norm1": "expand_norm",
           "mlp.fc2": "project", "mlp.norm2": "project_norm"}  # fmt: skip
V1_TOKENS = {"norm1": "attention_norm", "norm2": "mlp_norm", "ls1": "attention_scale", "ls2": "mlp_scale",
             "mlp.fc1": "expand", "mlp.fc2": "project", "token_mixer.proj": "attention_project"}  # fmt: skip
V2 = {"ls1": "attention_scale", "ls2": "mlp_scale", "mlp.fc1": "expand", "mlp.mid": "depthwise", "mlp.fc2": "project",
      "token_mixer.q": "query", "token_mixer.k": "key", "token_mixer.v": "value", "token_mixer.v_local": "local",
      "token_mixer.stride_conv": "stride", "token_mixer.talking_head1": "before_softmax",
      "token_mixer.talking_head2": "after_softmax", "token_mixer.proj": "attention_project"}  # fmt: skip
CASES = {
    "V1 MB4D": ({"mb4d": {}}, V1_CONV),
    "V1 MB3D": ({"mb3d": {}}, V1_TOKENS),
    "V2 FFN": ({"conv_ffn": {"expand": 3}}, V2),
    "V2 AttnFFN": ({"conv_ffn": {"expand": 2, "attention": True, "attention_stride": 2}}, V2),
}


class Filled:
    """Parameters by name; running mean 0, variance 1."""

    def __init__(self, values):
        self.values, self.used = values, set()

    def get(self, path, parameter):
        if parameter.statistic:
            return jnp.full(parameter.lengths, parameter.start)
        self.used.add(path)
        return jnp.asarray(self.values[path].reshape(parameter.lengths), jnp.float32)


def filled(entry) -> np.ndarray:
    """0.2 s, 1 + 0.1 s or 0.5 + 0.1 s with s_i = sin(0.7 i + j), as the rule of parameter j says."""
    shape = entry["shape_torch"]
    s = np.sin(0.7 * np.arange(math.prod(shape)) + entry["j"])
    constant, _, factor = entry["rule"].rpartition("+")
    return (float(constant or 0) + float(factor.removesuffix("*s")) * s).reshape(shape)


def ours(entry, names) -> dict[str, np.ndarray]:
    """A parameter of the oracle file under our name and in our layout."""
    value = filled(entry)
    module, _, leaf = entry["name"].rpartition(".")
    if leaf == "attention_biases":
        return {"bias.table": value}
    if module == "token_mixer.qkv":
        parts = np.split(value.reshape(HEADS, 2 * KEY + VALUE, -1), [KEY, 2 * KEY], axis=1)
        rows = [part.reshape(part.shape[0] * part.shape[1], -1) for part in parts]
        return {f"{n}.{leaf}": r.T if leaf == "weight" else r for n, r in zip(NAMES, rows, strict=True)}
    norm = module.endswith((".bn", "norm1", "norm2"))
    module = module.removesuffix(".conv")
    name = names[module.removesuffix(".bn")] + ("_norm" if module.endswith(".bn") else "")
    if norm:
        return {f"{name}.{'scale' if leaf == 'weight' else 'shift'}": value}
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return {f"{name}.{LEAVES[leaf]}": value}


@pytest.mark.parametrize("case", entries("forward"), ids=lambda c: c["title"].split(",")[0])
def test_output(case):
    data, names = next(v for k, v in CASES.items() if case["title"].startswith(k))
    tokens = len(case["input_shape"]) == 3
    channels = case["input_shape"][2 if tokens else 1]
    pixels = math.prod(case["input_shape"]) // channels
    side = math.isqrt(pixels)
    x = np.cos(0.13 * np.arange(math.prod(case["input_shape"]))).reshape(case["input_shape"])
    x = x.reshape(1, side, side, channels) if tokens else x.transpose(0, 2, 3, 1)
    values = {f"trunk.0.{k}": v for entry in case["params"] for k, v in ours(entry, names).items()}
    space = space_from_data({"input": {"channels": channels, "resolution": side}, "trunk": [data]}, "block")
    parameters, gates = Filled(values), Gates(jnp.zeros((0, 1)), Layout(()))
    graph = graph_of(space)
    forward = Forward(parameters, gates, StackedLookup(Requests(), gates.layout)(gates), None)
    y = np.asarray(forward.run(graph.parts, Value(graph.input, jnp.asarray(x, jnp.float32)), graph.output), np.float64)
    y = (y.reshape(case["output_shape"]) if tokens else y.transpose(0, 3, 1, 2)).reshape(-1)
    assert parameters.used == set(values)
    size = np.abs(y).max()
    np.testing.assert_allclose(y[:8], case["output_first8"], rtol=1e-5, atol=1e-5 * size)
    np.testing.assert_allclose(y[-4:], case["output_last4"], rtol=1e-5, atol=1e-5 * size)
    assert np.sum(np.abs(y)) == pytest.approx(case["output_abs_sum"], rel=1e-5)
    assert np.sum(y * y) == pytest.approx(case["output_sq_sum"], rel=1e-5)
    assert np.sum(y) == pytest.approx(case["output_sum"], abs=1e-5 * case["output_abs_sum"])
