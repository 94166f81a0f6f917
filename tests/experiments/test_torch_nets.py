"""The PyTorch nets of the benchmarks compute what the supernet computes, so that a comparison compares equal work."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.read import at_input, space_from_data
from dnas.graph import graph_of
from dnas.nn.gates import Gates, Layout, probabilities
from dnas.nn.supernet import Supernet, init

BENCH = Path(__file__).resolve().parents[2] / "experiments" / "bench"
torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    import networks
    import torch_nets

    yield networks, torch_nets
    sys.path.remove(str(BENCH))


def as_torch(path: str, value: np.ndarray):
    """HWIO (or HWC of a depthwise kernel, or IO of a linear layer) as PyTorch has it."""
    axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
    moved = np.transpose(value, axes)
    return torch.from_numpy((moved[:, None] if value.ndim == 3 else moved).copy())


def pairs(net, space):
    """(parameter of the PyTorch net, path of the supernet's)."""
    stem, *_, head, _, linear = graph_of(space).uses
    yield from [(net.stem.weight, f"{stem.path}.conv.weight"), (net.stem.bias, f"{stem.path}.conv.bias")]
    yield from norm(net.stem_norm, f"{stem.path}.norm")
    uses = iter(graph_of(space).uses[1:])
    for layer in net.layers:
        for block in getattr(layer, "branches", None) or [layer.block]:
            use = next(uses)
            if block.expand is not None:
                yield block.expand, f"{use.path}.expand.weight"
                yield from norm(block.expand_norm, f"{use.path}.expand_norm")
            sizes = use.fields["kernel"].values()
            for kernel, size in zip(block.kernels, sizes, strict=True):
                yield kernel, f"{use.path}.depthwise.weight" + (f"_k{size}" if len(sizes) > 1 else "")
            yield from norm(block.depthwise_norm, f"{use.path}.depthwise_norm")
            if block.se is not None:
                for name in ("reduce", "expand"):
                    yield getattr(block.se, name).weight, f"{use.path}.se.{name}.weight"
                    yield getattr(block.se, name).bias, f"{use.path}.se.{name}.bias"
            yield block.project, f"{use.path}.project.weight"
            yield from norm(block.project_norm, f"{use.path}.project_norm")
    yield net.head, f"{head.path}.conv.weight"
    yield from norm(net.head_norm, f"{head.path}.norm")
    yield from [(net.linear.weight, f"{linear.path}.linear.weight"), (net.linear.bias, f"{linear.path}.linear.bias")]


def norm(module, path):
    return [(module.weight, f"{path}.scale"), (module.bias, f"{path}.shift")]


def small_space(networks, kind):
    """The first stages of the space alone: deep in it, batch norms of a few values would amplify rounding."""
    whole = {"factorised": networks.choices, "branches": networks.branches}[kind]()
    data = dict(whole.document.data)
    stem, first, second, third, *_ = data["trunk"]
    data["trunk"] = [stem, first, *({"tbs": item["tbs"] | {"repeat": 2}} for item in (second, third))]
    data["head"] = [{"conv": {"out": 64, "act": "hswish"}}, *data["head"][1:]]
    return at_input(space_from_data(data, kind), channels=1, classes=10, side=32)


@pytest.mark.parametrize("kind", ["factorised", "branches"])
def test_same_logits_and_gradients_as_the_supernet(bench, kind):
    networks, torch_nets = bench
    space = small_space(networks, kind)
    layout = Layout(space.choices)
    draw = np.random.default_rng(0)
    theta = np.where(layout.real, draw.normal(size=layout.shape), 0).astype(np.float32)
    images = draw.normal(size=(4, 32, 32, 1)).astype(np.float32)
    variables = init(space, jax.random.key(0))

    def score(params, theta):
        gates = Gates(probabilities(layout, theta).values, layout)
        (logits, _), _ = Supernet(space).apply(
            variables | {"params": params}, jnp.asarray(images), gates, momentum=0.9, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(logits)), logits

    gradient = jax.jit(jax.grad(score, argnums=(0, 1), has_aux=True))
    (d_params, d_theta), logits = gradient(variables["params"], theta)

    net = getattr(torch_nets, kind)(space)
    named = list(pairs(net, space))
    assert {id(p) for p, _ in named} | {id(net.choices.logits)} == {id(p) for p in net.parameters()}
    assert {path for _, path in named} == set(variables["params"])
    with torch.no_grad():
        net.choices.logits.copy_(torch.from_numpy(theta))
        for parameter, path in named:
            parameter.copy_(as_torch(path, np.asarray(variables["params"][path])))
    found = net(torch.from_numpy(images).permute(0, 3, 1, 2))
    np.testing.assert_allclose(found.detach().numpy(), logits, rtol=1e-3, atol=1e-4)
    torch.sin(found).sum().backward()
    scale = max(float(np.abs(v).max()) for v in d_params.values())
    for parameter, path in named:
        expected = as_torch(path, np.asarray(d_params[path])).numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-2, atol=1e-4 * scale, err_msg=path)
    np.testing.assert_allclose(net.choices.logits.grad.numpy(), d_theta, rtol=1e-2, atol=1e-4 * np.abs(d_theta).max())
