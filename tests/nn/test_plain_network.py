"""The plain network against a slow one in numpy, written from the papers' definitions: loops, float64, no jax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.read import space_from_data
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, init

EPSILON = 1e-5

TRUNK = [
    {"conv": {"kernel": 3, "stride": 2, "out": 6, "bias": True, "act": "hswish"}},
    {"mbconv": {"out": 6, "hidden": 8, "kernel": 5, "se": True, "se_hidden": 3, "act": "hswish"}},
    {"mbconv": {"out": 8, "hidden": 12, "stride": 2, "act": "relu"}},
    {"mbconv": {"out": 8, "kernel": 3, "expand_conv": False, "act": "hswish"}},
    {"skip": {"out": 10}},
    {"skip": {"out": 10}},
]
HEAD = [{"conv": {"out": 12, "act": "relu"}}, {"pool": {}}, {"linear": {"out": "$classes"}}]


def architecture(side: int):
    data = {"name": "a", "input": {"channels": 2, "classes": 3, "resolution": side}, "trunk": TRUNK, "head": HEAD}
    return space_from_data(data, "a")


class Twin:
    """One forward pass. `training` normalises with the batch and notes the new running statistics."""

    def __init__(self, variables, training: bool):
        self.p = {k: np.asarray(v, np.float64) for k, v in variables["params"].items()}
        self.s = {k: np.asarray(v, np.float64) for k, v in variables["batch_stats"].items()}
        self.training = training

    def conv(self, x, path, stride=1, depthwise=False):
        w = self.p[f"{path}.weight"]
        k, pad, (n, side, _, _) = w.shape[0], w.shape[0] // 2, x.shape
        out = (side + 2 * pad - k) // stride + 1
        y = np.zeros((n, out, out, w.shape[-1]))
        for row in range(out):
            for col in range(out):
                for i in range(k):
                    for j in range(k):
                        a, b = row * stride + i - pad, col * stride + j - pad
                        if 0 <= a < side and 0 <= b < side:
                            y[:, row, col] += x[:, a, b] * w[i, j] if depthwise else x[:, a, b] @ w[i, j]
        return y + self.p.get(f"{path}.bias", 0.0)

    def norm(self, x, path):
        mean, var = self.s[f"{path}.mean"], self.s[f"{path}.var"]
        if self.training:
            flat = x.reshape(-1, x.shape[-1])
            self.s[f"{path}.mean"], self.s[f"{path}.var"] = (
                0.9 * mean + 0.1 * flat.mean(0),
                0.9 * var + 0.1 * flat.var(0),
            )
            mean, var = flat.mean(0), flat.var(0)
        return (x - mean) / np.sqrt(var + EPSILON) * self.p[f"{path}.scale"] + self.p[f"{path}.shift"]

    def mbconv(self, x, path, fields):
        act, y = ACTIVATIONS[fields["act"]], x
        if fields.get("expand_conv", True):
            y = act(self.norm(self.conv(y, f"{path}.expand"), f"{path}.expand_norm"))
        y = self.conv(y, f"{path}.depthwise", fields.get("stride", 1), depthwise=True)
        y = act(self.norm(y, f"{path}.depthwise_norm"))
        if fields.get("se"):
            inner = act(y.mean((1, 2)) @ self.p[f"{path}.se.reduce.weight"] + self.p[f"{path}.se.reduce.bias"])
            gate = inner @ self.p[f"{path}.se.expand.weight"] + self.p[f"{path}.se.expand.bias"]
            y = y * np.clip(gate / 6 + 0.5, 0, 1)[:, None, None]
        y = self.norm(self.conv(y, f"{path}.project"), f"{path}.project_norm")
        return x + y if fields.get("stride", 1) == 1 and x.shape == y.shape else y

    def network(self, x):
        for section, blocks in (("trunk", TRUNK), ("head", HEAD)):
            for position, block in enumerate(blocks):
                (kind, fields), path = next(iter(block.items())), f"{section}.{position}"
                if kind == "mbconv":
                    x = self.mbconv(x, path, fields)
                elif kind == "pool":
                    x = x.mean((1, 2))
                elif kind == "linear":
                    x = x @ self.p[f"{path}.linear.weight"] + self.p[f"{path}.linear.bias"]
                elif kind == "conv" or x.shape[-1] != fields["out"]:  # a skip that changes width is conv, norm, ReLU
                    y = self.norm(self.conv(x, f"{path}.conv", fields.get("stride", 1)), f"{path}.norm")
                    x = ACTIVATIONS[fields.get("act", "relu")](y)
        return x


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "hswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [13, 16])
def test_forward_pass_and_running_statistics(side, training):
    space, rng = architecture(side), np.random.default_rng(side)
    variables = init(space, jax.random.key(0))
    for leaves in variables.values():
        for path, leaf in leaves.items():
            if leaf.ndim == 1:
                leaves[path] = jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
    images = rng.normal(size=(4, side, side, 2)).astype(np.float32)
    twin = Twin(variables, training)
    expected = twin.network(images.astype(np.float64))
    (logits, _), updated = Supernet(space).apply(
        variables, jnp.asarray(images), one_hot(Layout(()), {}), momentum=0.9 if training else None,
        mutable=["batch_stats"],
    )  # fmt: skip
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())
    for path, value in (updated["batch_stats"] if training else {}).items():
        np.testing.assert_allclose(value, twin.s[path], rtol=1e-5, atol=1e-6, err_msg=path)
