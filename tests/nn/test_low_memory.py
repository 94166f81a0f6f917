"""Low memory changes what is kept, and nothing of what comes out."""

from __future__ import annotations

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.nn.gates import Gates, Layout, gumbel_softmax, init_theta
from dnas.nn.supernet import Supernet
from tests.nn.test_branches import CHAIN, QUICK
from tests.nn.test_one_hot import WRITTEN, random_variables

SPACES = {**WRITTEN, "chain": CHAIN}
CASES = [
    pytest.param("small", None), pytest.param("pooling", None), pytest.param("chain", 2),
    pytest.param("everything", None, marks=pytest.mark.slow), pytest.param("attention", None, marks=pytest.mark.slow),
]  # fmt: skip


@functools.cache
def prepared(name: str):
    space = space_from_data(copy.deepcopy(SPACES[name]), name)
    side = space.resolution.max()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, side, side, space.channels)), jnp.float32)
    layout = Layout(space.choices)
    gates = gumbel_softmax(layout, init_theta(layout), jax.random.key(3), 1.0)
    return space, random_variables(space, 1), images, gates


def learned(name: str, paths: int | None, low_memory: bool, taps: tuple[str, ...] = ()):
    """Logits, taps and statistics, and the gradients of weights and gates."""
    space, variables, images, gates = prepared(name)
    net = Supernet(space, paths=paths, low_memory=low_memory)

    def loss(params, values, stats):
        (logits, tapped), updated = net.apply(
            {"params": params, "batch_stats": stats}, images, Gates(values, gates.layout), momentum=0.9,
            mutable=["batch_stats"], taps=taps,
        )  # fmt: skip
        return jnp.mean(jnp.sin(0.1 * jnp.arange(float(logits.size)).reshape(logits.shape) * logits)), (
            logits,
            tapped,
            updated,
        )

    learn = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
    (_, found), gradients = learn(variables["params"], gates.values, variables["batch_stats"])
    return found, gradients


@pytest.mark.parametrize(("name", "paths"), CASES)
def test_gradients_and_statistics_are_those_of_the_default(name, paths):
    (found, gradients), (wanted, expected) = (learned(name, paths, low) for low in (True, False))
    # The order of float32 sums alone differs: between programs of XLA it is not the same.
    for group, other in ((found, wanted), *zip(gradients, expected, strict=True)):
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(other))
        jax.tree.map(lambda a, b, m=largest: np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-5 * m), group, other)


def test_blocks_and_operators_can_still_be_tapped():
    space = prepared("small")[0]
    block = next(block.path for block in space.blocks())
    inside = next(node.path for node in graph_of(space).nodes if node.path.startswith(f"{block}.") and node.parameters)
    (_, tapped, _), _ = learned("small", None, True, (block, inside))
    (_, wanted, _), _ = learned("small", None, False, (block, inside))
    assert set(wanted) == {block, inside}
    for path, value in wanted.items():
        np.testing.assert_allclose(tapped[path], value, rtol=1e-6, atol=1e-6)
