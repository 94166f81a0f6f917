"""Weights on images of another side: tables of positions follow the maps, all else stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.export import parity
from dnas.grammar.read import at_input, space_from_data
from dnas.learning.resized import TABLES, at_side
from dnas.nn.supernet import abstract_variables, init

from ..export.networks import ATTENDED, BIASED, STREAMS, TOKENS, WINDOWS

SIDES = {"attended": (ATTENDED, 48), "tokens": (TOKENS, 20), "windows": (WINDOWS, 8), "streams": (STREAMS, 20),
         "biased": (BIASED, 32)}  # fmt: skip


def drawn(space):
    generator = np.random.default_rng(0)
    return {
        group: {name: jnp.asarray(generator.uniform(0.5, 1, leaf.shape), jnp.float32) for name, leaf in leaves.items()}
        for group, leaves in abstract_variables(space).items()
    }


@pytest.mark.parametrize("name", SIDES)
def test_tables_follow_the_maps_and_all_else_stays(name):
    data, side = SIDES[name]
    own = space_from_data(data, name)
    network, variables = at_input(own, side=side), drawn(own)
    found, tables = at_side(variables, own, network)
    assert tables
    for group, leaves in abstract_variables(network).items():
        assert {path: value.shape for path, value in found[group].items()} == {p: v.shape for p, v in leaves.items()}
        for path in leaves.keys() & variables[group].keys() - set(tables):
            assert found[group][path] is variables[group][path]
    assert all(found["params"][path].min() >= 0.5 - 1e-6 and found["params"][path].max() <= 1 for path in tables)
    assert np.isfinite(parity.reference(network, found, parity.images(network))).all()


@pytest.mark.parametrize("name", SIDES)
def test_the_same_side_changes_nothing(name):
    own = space_from_data(SIDES[name][0], name)
    variables = init(own, jax.random.key(0))
    found, tables = at_side(variables, own, at_input(own, side=own.resolution.value))
    assert not tables and all(found[g][path] is variables[g][path] for g in found for path in found[g])


def test_what_rises_over_the_image_still_does():
    rows, columns = np.mgrid[:4, :4] / 4 + 1 / 8
    table = np.concatenate([[[9.0, 9.0]], np.stack([rows, columns], -1).reshape(16, 2)])
    found = TABLES["positions"](table, (65, 2))
    assert found[0].tolist() == [9, 9]
    inside = found[1:].reshape(8, 8, 2)[1:-1, 1:-1]
    np.testing.assert_allclose(inside[..., 0], np.broadcast_to((np.arange(1, 7)[:, None] + 0.5) / 8, (6, 6)), atol=1e-6)
    np.testing.assert_allclose(inside[..., 1], inside[..., 0].T, atol=1e-6)


def test_no_distance_stays_none():
    table = np.add.outer(np.arange(4.0), 10 * np.arange(4.0))[None]
    found = TABLES["distance_bias"](table, (1, 7, 7))
    np.testing.assert_allclose(found[0], np.add.outer(np.arange(7) / 2, 10 * np.arange(7) / 2))
    window = np.add.outer(np.abs(np.arange(-3, 4)), np.abs(np.arange(-3, 4))).reshape(49, 1)
    assert TABLES["window_bias"](window, (169, 1)).reshape(13, 13).argmin() == 6 * 13 + 6
