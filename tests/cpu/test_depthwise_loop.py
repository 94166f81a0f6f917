"""The loop for depthwise convolutions against XLA's convolution, in values and gradients, and where it may be used."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from dnas import maths
from dnas.cpu.built import usable
from dnas.cpu.depthwise_loop import depthwise, mixed
from dnas.cpu.forms import FORMS
from dnas.grammar.catalogue import load_space
from dnas.nn.gates import Layout, uniform
from dnas.nn.supernet import Supernet, init

TARGET = "dnas_pixel_products"

pytestmark = pytest.mark.skipif(not usable(), reason="numba is not installed, or this is no CPU")


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), jnp.float32)


def loop(x, w, stride, padding):
    return mixed(depthwise, x, w, stride, padding, None)


def library(x, w, stride, padding):
    return lax.conv_general_dilated(
        x, w[:, :, None], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 19), st.integers(1, 12), st.integers(1, 150), st.sampled_from([1, 2, 3, 5, 7]), st.integers(1, 3),
    st.integers(0, 3),
)  # fmt: skip
def test_values_and_gradients(images, side, channels, kernel, stride, padding):
    padding = max(min(padding, kernel - 1), -(-(kernel - side) // 2))
    x, w = random(images, side, side, channels), random(kernel, kernel, channels)
    y, pull = jax.vjp(lambda x, w: loop(x, w, stride, padding), x, w)
    expected, expected_pull = jax.vjp(lambda x, w: library(x, w, stride, padding), x, w)
    ct = random(*y.shape, seed=1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(pull(ct), expected_pull(ct), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * (1 + float(jnp.abs(theirs).max())))


def test_same_bits_every_time():
    """Threads take the chunks as they come; what they make of them may not depend on it."""
    x, w = random(16, 14, 14, 40), random(5, 5, 40)
    gradients = jax.jit(jax.grad(lambda x, w: jnp.sum(loop(x, w, 1, 2) ** 2), (0, 1)))
    first = gradients(x, w)
    for _ in range(20):
        for a, b in zip(gradients(x, w), first, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_calls_at_once():
    """Independent calls run side by side, and threads come to a call that is over."""
    xs, w = [random(4, 6, 6, 8, seed=s) for s in range(40)], random(3, 3, 8)
    together = jax.jit(lambda xs, w: [loop(x, w, 1, 1) for x in xs])
    for _ in range(50):
        found = together(xs, w)
    for x, y in zip(xs, found, strict=True):
        np.testing.assert_allclose(y, library(x, w, 1, 1), rtol=1e-4, atol=1e-5)


def test_networks_side_by_side():
    x, ws = random(3, 5, 5, 6), random(4, 3, 3, 6)
    found = jax.vmap(lambda x, w: loop(x, w, 2, 1), (None, 0))(x, ws)
    np.testing.assert_allclose(found, [library(x, w, 2, 1) for w in ws], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("paths", [None, 2])
def test_a_supernet_is_the_same_with_it(paths):
    space = load_space("fashion")
    variables = init(space, jax.random.key(0))
    side = space.resolution.max()
    x, gates = random(2, side, side, space.channels), uniform(Layout(space.choices))

    def loss(kernels, params):
        net = Supernet(space, resolution_paths=paths, forms=FORMS if kernels else None)
        (logits, _), updated = net.apply(
            {**variables, "params": params}, x, gates, momentum=0.9, mutable=["batch_stats"]
        )  # fmt: skip
        return jnp.sum(logits**2), updated["batch_stats"]

    (a, stats), grads = jax.value_and_grad(lambda p: loss(True, p), has_aux=True)(variables["params"])
    (b, their_stats), their_grads = jax.value_and_grad(lambda p: loss(False, p), has_aux=True)(variables["params"])
    assert float(a) == pytest.approx(float(b), rel=1e-4)
    for name, leaf in their_stats.items():
        np.testing.assert_allclose(stats[name], leaf, rtol=1e-3, atol=1e-4, err_msg=name)
    for name, leaf in their_grads.items():
        np.testing.assert_allclose(grads[name], leaf, rtol=1e-2, atol=1e-3 * float(jnp.abs(b)), err_msg=name)


def test_it_is_used_only_where_asked_for():
    x, w = jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3))
    assert TARGET in jax.jit(lambda x, w: loop(x, w, 1, 1)).lower(x, w).as_text()
    assert TARGET not in jax.jit(lambda x, w: maths.conv.depthwise(x, w, 1, 1)).lower(x, w).as_text()
    space = load_space("tiny")
    side, variables = space.resolution.max(), init(space, jax.random.key(0))
    images = jnp.ones((1, side, side, space.channels))
    for kernels in (False, True):
        net = Supernet(space, forms=FORMS if kernels else None)
        text = jax.jit(lambda x, net=net: net.apply(variables, x, uniform(Layout(space.choices)))[0]).lower(images)
        assert (TARGET in text.as_text()) == kernels


def test_multiply_adds_stand_in_the_program():
    """3 images, 4 channels, a 3 x 3 kernel on 5 x 5 pixels: 13 pairs of a row and a tap within the map."""
    text = jax.jit(lambda x, w: loop(x, w, 1, 1)).lower(jnp.ones((3, 5, 5, 4)), jnp.ones((3, 3, 4))).as_text()
    assert f"macs = {3 * 4 * 13**2} : i64" in text
