"""Blocks that pass several tensors are chosen among, repeated, costed, run, tapped and inherited like any other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.blocks import KINDS
from dnas.blocks.forms import MAP, Form
from dnas.blocks.kind import block
from dnas.cost.ledger import COSTS, at
from dnas.errors import UserError
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.nn.gates import Layout, one_hot
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Supernet, init
from dnas.ops import Conv, GlobalPool, WeightedSum
from dnas.space.fields import integer

SPACE = {
    "name": "streams",
    "input": {"channels": 2, "classes": 3, "resolution": 6},
    "trunk": [
        {"split_for_test": {"out": {"choices": [4, 6]}}},
        {"one_of": [{"both_for_test": {"kernel": 3}}, {"both_for_test": {"kernel": 1}}], "repeat": 2},
        {"both_for_test": {"repeat": {"range": [0, 2, 1]}, "kernel": 3}},
        {"join_for_test": {}},
    ],
    "head": [{"linear": {"out": "$classes"}}],
}


@pytest.fixture(autouse=True)
def kinds():
    """A block that makes two streams of one, one that works on both, and one that makes one of two."""
    before, two = dict(KINDS), Form("two maps", MAP.axes * 2)

    @block("split_for_test", MAP, out=integer("width of both"))
    def split(net, x, f):
        return net.masked(net.add("map", Conv(f.out), x)), net.masked(net.add("other", Conv(f.out), x))

    @block("both_for_test", two, kernel=integer("of the first stream"))
    def both(net, x, f):
        first, second = x
        y = net.add("conv", Conv(first.channels, f.kernel), first)
        return net.masked(net.add("sum", WeightedSum((1, 1)), y, second)), net.masked(
            net.add("conv2", Conv(second.channels), second)
        )

    @block("join_for_test", two)
    def join(net, x, f):
        return net.add("pool", GlobalPool(), net.add("sum", WeightedSum((1, -1)), *x))

    yield
    KINDS.clear()
    KINDS.update(before)


def test_a_network_of_two_streams_is_a_network():
    space = space_from_data(SPACE, "streams")
    variables = init(space, jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 2)), jnp.float32)
    run = jax.jit(lambda gates: Supernet(space).apply(variables, images, gates))
    rng = np.random.default_rng(1)
    for _ in range(4):
        assignment = {c.name: int(rng.integers(len(c))) for c in space.choices}
        found = architecture(space, assignment)
        logits, _ = run(one_hot(Layout(space.choices), assignment))
        expected, _ = Supernet(found.network).apply(inherit(variables, found), images, one_hot(Layout(()), {}))
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
        for cost in COSTS.values():
            ledgers = graph_of(space).ledger, graph_of(found.network).ledger, graph_of(space).fix(assignment).ledger
            assert at(cost(ledgers[0]), assignment) == at(cost(ledgers[1]), {}) == at(cost(ledgers[2]), {})


def test_both_streams_are_tapped():
    space = space_from_data(SPACE, "streams")
    images, gates = jnp.ones((2, 6, 6, 2)), one_hot(Layout(space.choices), {c.name: 0 for c in space.choices})
    _, taps = Supernet(space).apply(init(space, jax.random.key(0)), images, gates, taps=("trunk.0",))
    assert [value.shape for value in taps["trunk.0"]] == [(2, 6, 6, 6)] * 2


@pytest.mark.parametrize("paths, low_memory", [(1, False), (None, True)])
def test_sampling_and_low_memory_leave_them_as_they_are(paths, low_memory):
    space = space_from_data(SPACE, "streams")
    variables, images = init(space, jax.random.key(0)), jnp.ones((2, 6, 6, 2))
    gates = one_hot(Layout(space.choices), {c.name: 0 for c in space.choices})
    found, _ = Supernet(space, paths=paths, low_memory=low_memory).apply(variables, images, gates)
    np.testing.assert_allclose(found, Supernet(space).apply(variables, images, gates)[0], rtol=1e-6)


def test_a_block_of_one_stream_refuses_two():
    trunk = [SPACE["trunk"][0], {"conv": {"out": 4, "kernel": 1}}]
    with pytest.raises(UserError, match=r"'conv' reads a map, and is given \[rows, columns, channels\] and \[rows"):
        graph_of(space_from_data({**SPACE, "trunk": trunk}, "streams"))
    data = {**SPACE, "trunk": SPACE["trunk"][:2], "head": [SPACE["trunk"][1]]}
    with pytest.raises(UserError, match="the last block gives several tensors"):
        graph_of(space_from_data(data, "streams"))
