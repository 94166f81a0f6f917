"""The formulas of patch slimming against loops, and against values by hand."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.compress.significance import carried, mean_attention, row_norms, significance


def by_loops(attention, features, masks, layer):
    """s of one layer for one image, loops and all: `attention` [layers][heads][T][T], `features` [layers][T][C]."""
    count = len(attention[0][0])
    means = [[[sum(h[i][j] for h in heads) / len(heads) for j in range(count)] for i in range(count)]
             for heads in attention]  # fmt: skip
    reach = [[float(i == j) for j in range(count)] for i in range(count)]
    for later in range(len(means) - 1, layer, -1):
        masked = [[masks[later][k] * means[later][k][j] for j in range(count)] for k in range(count)]
        reach = [[sum(reach[i][k] * masked[k][j] for k in range(count)) for j in range(count)] for i in range(count)]
    found = []
    for i in range(count):
        column = math.sqrt(sum(reach[r][i] ** 2 for r in range(count)))
        width = range(len(features[layer][0]))
        gathered = [sum(means[layer][i][k] * abs(features[layer][k][c]) for k in range(count)) for c in width]
        found.append((column * math.sqrt(sum(g**2 for g in gathered))) ** 2)
    return found


def test_significance_is_that_of_plain_loops():
    rng, (layers, images, heads, count, width) = np.random.default_rng(0), (4, 3, 2, 5, 6)
    attention = rng.dirichlet(np.ones(count), (layers, images, heads, count)).astype(np.float32)
    features = rng.normal(size=(layers, images, count, width)).astype(np.float32)
    masks = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 0, 0, 0, 0]], np.float32)
    means = [mean_attention(jnp.asarray(a)) for a in attention]
    onward = jnp.broadcast_to(jnp.eye(count), means[0].shape)
    for layer in reversed(range(layers)):
        if layer + 1 < layers:
            onward = carried(onward, jnp.asarray(masks[layer + 1]), means[layer + 1])
        found = significance(onward, row_norms(means[layer], jnp.asarray(features[layer])))
        wanted = [by_loops(attention[:, n], features[:, n], masks, layer) for n in range(images)]
        np.testing.assert_allclose(found, np.mean(wanted, 0), rtol=1e-4)


def test_significance_by_hand():
    """Two layers, two tokens, the class token alone after the last: it takes 3/4 from token 0 and 1/4 from token 1."""
    last = jnp.array([[[0.75, 0.25], [0.5, 0.5]]])
    first = jnp.array([[[1.0, 0.0], [0.5, 0.5]]])
    tokens = jnp.array([[[3.0, -4.0], [1.0, 0.0]]])
    onward = carried(jnp.eye(2)[None], jnp.array([1.0, 0.0]), last)
    np.testing.assert_allclose(onward[0], [[0.75, 0.25], [0, 0]])
    norms = row_norms(first, tokens)
    np.testing.assert_allclose(norms[0], [5.0, math.hypot(2, 2)], rtol=1e-6)
    np.testing.assert_allclose(significance(onward, norms), [(0.75 * 5) ** 2, 0.25**2 * 8], rtol=1e-6)


def test_the_mean_is_over_heads_and_images():
    heads = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    np.testing.assert_allclose(mean_attention(heads), [[[0.5, 0.5]]])
    onward, norms = jnp.broadcast_to(jnp.eye(2), (2, 2, 2)), jnp.array([[1.0, 2.0], [3.0, 0.0]])
    assert significance(onward, norms).tolist() == pytest.approx([5.0, 2.0])
