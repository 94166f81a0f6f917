"""Forms of an operation by backend, read from programs that are lowered for backends that are not here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas import maths
from dnas.grammar.read import space_from_data
from dnas.nn.gates import Gates, Layout, uniform
from dnas.nn.supernet import Supernet, init

SPACE = {
    "name": "s",
    "input": {"channels": 1, "classes": 3, "resolution": {"choices": [6, 8]}},
    "trunk": [{"mbconv": {"out": 4, "kernel": {"choices": [3, 5]}, "act": {"choices": ["relu", "hswish"]}}}],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


def lowered(function, *arguments, backend: str) -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(backend,)).as_text()


@pytest.mark.parametrize("backend, grouped", [("cpu", False), ("cuda", True), ("rocm", True), ("tpu", True)])
def test_depthwise_is_the_library_s_convolution_but_on_cpu(backend, grouped):
    x, w = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6))

    def gradients(x, w):
        return jax.grad(lambda x, w: jnp.sum(maths.conv.depthwise(x, w, 1, 1) ** 2), (0, 1))(x, w)

    for function in (lambda x, w: maths.conv.depthwise(x, w, 1, 1), gradients):
        text = lowered(function, x, w, backend=backend)
        assert ("feature_group_count = 6" in text) == grouped
        assert ("stablehlo.convolution" in text) == grouped


@pytest.mark.parametrize("backend", ["cuda", "tpu"])
def test_a_step_is_lowered_for_other_backends(backend):
    """Grouped convolutions, and none of the branches that keep XLA's CPU backend from fusing."""
    space = space_from_data(SPACE, "s")
    layout, variables = Layout(space.choices), init(space, jax.random.key(0))
    images = np.ones((2, 8, 8, 1), np.float32)

    def loss(params, gates):
        net = Supernet(space)
        at = {**variables, "params": params}
        logits = net.apply(at, images, Gates(gates, layout), momentum=0.9, mutable=["batch_stats"])[0][0]
        return jnp.sum(logits**2)

    arguments = variables["params"], uniform(layout).values
    text = lowered(jax.grad(loss, (0, 1)), *arguments, backend=backend)
    on_cpu = lowered(jax.grad(loss, (0, 1)), *arguments, backend="cpu")
    # What is left are choices of a backend, whose outcome is a constant.
    assert "feature_group_count" in text and text.count("stablehlo.case") < on_cpu.count("stablehlo.case")
