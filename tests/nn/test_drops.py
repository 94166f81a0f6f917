"""Stochastic depth and dropout: where they act, how often, and that the mean stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph import graph_of
from dnas.nn.drops import Drops, Places, places
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, init

NETWORK = {
    "name": "two", "input": {"channels": 4, "classes": 3, "resolution": 4},
    "trunk": [
        {"mbconv": {"out": 4, "expand": 2}}, {"mbconv": {"out": 8, "expand": 2}}, {"mbconv": {"out": 8, "expand": 2}},
    ],
    "head": [{"pool_head": {"hidden": 6, "out": 3}}, {"linear": {"out": 3}}],
}  # fmt: skip


def test_places_are_residuals_and_the_layer_that_gives_the_class_scores():
    assert places(space_from_data(NETWORK, "two")) == Places(("trunk.0.add", "trunk.2.add"), ("head.1.linear",))
    v3 = load_space("fbnetv3_a0")
    walked = graph_of(v3)
    same = [u for u in walked.uses if u.kind == "mbconv" and u.fields["stride"].value == 1]
    agree = [u for u in same if u.channels_in.value == u.out.channels.value]
    assert len(places(v3).residuals) == len(agree) > 5
    assert places(v3).classifiers == ("head.2.linear",)
    assert places(at_input(v3, classes=7)).classifiers == ("head.2.linear",)


def test_branches_are_dropped_image_by_image_with_a_rate_that_grows():
    drops = Drops(jax.random.key(0), Places(("a", "b", "c", "d"), ()), branch=0.4)
    x = jnp.ones((5000, 2, 2, 3))
    for index, rate in enumerate([0.1, 0.2, 0.3, 0.4]):
        found = np.asarray(drops.of_branch(x, index)).reshape(5000, -1)
        zero = (found == 0).all(1)
        np.testing.assert_allclose(found[~zero], 1 / (1 - rate), rtol=1e-6)
        assert zero.mean() == pytest.approx(rate, abs=0.025)


def test_classifier_inputs_are_dropped_one_by_one():
    drops = Drops(jax.random.key(0), Places((), ("head.1.linear",)), classifier=0.3)
    x = jnp.ones((200, 50))
    found = np.asarray(drops.of_classifier(x, "head.1.linear"))
    assert (found == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(found[found != 0], 1 / 0.7, rtol=1e-6)
    assert drops._replace(classifier=0.0).of_classifier(x, "head.1.linear") is x


def network(drops):
    space = space_from_data(NETWORK, "two")
    variables = init(space, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (64, 4, 4, 4))
    return np.asarray(Supernet(space).apply(variables, x, one_hot(Layout(()), {}), drops=drops)[0])


def test_the_network_uses_them_and_zero_rates_change_no_bit():
    key, found = jax.random.key(0), places(space_from_data(NETWORK, "two"))
    plain = network(None)
    np.testing.assert_array_equal(network(Drops(key, found)), plain)
    for drops in (Drops(key, found, branch=0.5), Drops(key, found, classifier=0.5)):
        np.testing.assert_array_equal(network(drops), network(drops))
        assert not np.array_equal(network(drops), plain)
    skipped = network(Drops(key, found, branch=0.5))
    kept = np.isclose(skipped, plain, rtol=1e-6).all(1)
    assert not kept.any()  # a branch that is kept is scaled up


def test_a_rate_near_one_leaves_the_identity():
    """Nearly every image takes the shortcut of the last residual: the network without that block's branch."""
    found = places(space_from_data(NETWORK, "two"))
    shortened = dict(NETWORK, trunk=NETWORK["trunk"][:2])
    space, short = space_from_data(NETWORK, "two"), space_from_data(shortened, "short")
    variables = init(space, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (64, 4, 4, 4))
    gates = one_hot(Layout(()), {})
    drops = Drops(jax.random.key(0), found, branch=0.0)

    class Only(Drops):
        def of_branch(self, y, index):
            return 0 * y if index == 1 else y

    logits = Supernet(space).apply(variables, x, gates, drops=Only(*drops))[0]
    needed = {g: {n: v for n, v in leaves.items() if not n.startswith("trunk.2.")} for g, leaves in variables.items()}
    np.testing.assert_allclose(logits, Supernet(short).apply(needed, x, gates)[0], rtol=1e-5, atol=1e-6)
