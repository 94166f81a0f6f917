"""Resolution mixing against an explicit loop over options and pixels, and the facts of FBNetV2's section 3.2."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from dnas import maths
from dnas.maths.grids import coverage, grid_index, pixel_index, pixel_source, pixel_weights
from dnas.maths.mixing import Grids, on_grids, regrid
from dnas.nn.gates import Gates, Layout
from dnas.space.quantity import Choice, Quantity


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), jnp.float32)


def convolution(x, w, stride, padding):
    groups = 1 if w.ndim == 4 else x.shape[-1]
    w = w if w.ndim == 4 else w[:, :, None]
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


def naive(x, w, gate, sides, share, stride, padding):
    """Index by index, scatter by scatter; differentiable by jax itself."""
    full, out_full = x.shape[1], max(b for _, b in sides)
    total = 0.0
    for g, (a, b) in zip(gate, sides, strict=True):
        rows, out_rows = np.arange(a) * full // a, np.arange(b) * out_full // b
        small = convolution(x[:, rows][:, :, rows], w, stride, padding)
        empty = jnp.zeros((x.shape[0], out_full, out_full, small.shape[-1]))
        total += g * empty.at[:, out_rows[:, None], out_rows[None, :]].add(small)
    return (
        total
        if share is None
        else total * jnp.where(share > 0, 1 / jnp.where(share > 0, share, 1), 0)[None, :, :, None]
    )


def ours(x, w, gate, sides, share, stride, padding, paths=None):
    grids = Grids(gate, sides, share, paths)
    operator = maths.conv.Spatial(maths.conv.depthwise if w.ndim == 3 else maths.conv.conv, stride, padding)
    return on_grids(operator, x, w, grids)


def out_side(side: int, kernel: int, stride: int) -> int:
    return (side + 2 * (kernel // 2) - kernel) // stride + 1


def share_of(gate, sides):
    out_full = max(b for _, b in sides)
    rows = np.stack([np.isin(np.arange(out_full), np.arange(b) * out_full // b) for _, b in sides]).astype(np.float32)
    return jnp.einsum("r,rh,rw->hw", gate, rows, rows)


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("paths", [None, 2])
@pytest.mark.parametrize("options, kernel, stride, dense", [
    ([4, 6, 9], 3, 1, False), ([4, 6, 9], 5, 2, False), ([3, 5, 7, 8], 3, 2, True), ([2, 4, 8], 3, 1, True),
    ([5, 5, 9, 10], 3, 2, False),
])  # fmt: skip
def test_mix_and_all_gradients(options, kernel, stride, dense, paths, divided):
    compared_with_naive(ours, options, kernel, stride, dense, paths, divided)


def compared_with_naive(form, options, kernel, stride, dense, paths, divided):
    """Values of a form, called as `ours` is, and gradients for the map, the weights and the gates."""
    full = max(options)
    sides = [(a, out_side(a, kernel, stride)) for a in options]
    x, w = random(2, full, full, 3), random(kernel, kernel, 3, *([4] if dense else []))
    gate = np.random.default_rng(0).dirichlet(np.ones(len(options))).astype(np.float32)
    if paths:
        gate[: len(options) - 2] = 0
        gate /= gate.sum()
    ct = random(2, *(2 * [max(b for _, b in sides)]), w.shape[-1], seed=1)

    def value(mix, x, w, gate):
        share = share_of(gate, sides) if divided else None
        return mix(x, w, gate, sides, share, stride, kernel // 2)

    mix = functools.partial(form, paths=paths)
    y, pull = jax.vjp(functools.partial(value, mix), x, w, jnp.asarray(gate))
    expected, expected_pull = jax.vjp(functools.partial(value, naive), x, w, jnp.asarray(gate))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    # A gate's gradient is that of the sum less that of its divisor: of 500 and 500 there may be left 0.2.
    held = naive_terms(x, w, gate, sides, stride, kernel, ct) if divided else 0.0
    for name, a, b in zip(("x", "w", "gate"), pull(ct), expected_pull(ct), strict=True):
        least = 1e-4 * float(jnp.abs(b).max())
        if name == "gate":
            least = max(least, 5e-6 * held)
            if paths:
                # The loss that leaves options out tells nothing of them.
                a, b = a[gate > 0], b[gate > 0]
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=least, err_msg=name)


def naive_terms(x, w, gate, sides, stride, kernel, ct) -> float:
    """The largest gradient of a gate with the divisor held."""
    share = share_of(jnp.asarray(gate), sides)
    held = jax.vjp(lambda g: naive(x, w, g, sides, share, stride, kernel // 2), jnp.asarray(gate))[1](ct)[0]
    return float(jnp.abs(held).max())


@pytest.mark.parametrize("kernel, stride", [(3, 1), (5, 2)])
def test_local_means_of_sampled_grids(kernel, stride):
    """The zeros around a smaller map, which lies in the corner of a full one, are no cells of it."""
    options, gate = [4, 6, 9], jnp.asarray([0.3, 0.7, 0.0])
    sides = [(a, out_side(a, kernel, stride)) for a in options]
    x, ct, one = random(2, 9, 9, 3), random(2, *[out_side(9, kernel, stride)] * 2, 3, seed=1), jnp.ones(())

    def mixed(form, x, gate, paths):
        window = maths.conv.Spatial(form, kernel, stride, kernel // 2)
        return on_grids(window, x, one, Grids(gate, sides, share_of(gate, sides), paths))

    y, pull = jax.vjp(lambda x, g: mixed(maths.pool.marked_pool, maths.pool.marked(x), g, 2), x, gate)
    expected, expected_pull = jax.vjp(lambda x, g: mixed(maths.pool.scaled_pool, x, g, None), x, gate)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    (dx, dg), (wanted_dx, wanted_dg) = pull(ct), expected_pull(ct)
    np.testing.assert_allclose(dx, wanted_dx, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dg[:2], wanted_dg[:2], rtol=1e-3, atol=1e-4)


@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(0, 4), st.integers(0, 3))
def test_regrid_takes_and_puts_back(side, more, spare):
    full, stored = side + more, side + spare
    x = random(2, full, full, 2)
    rows = np.arange(side) * full // side
    np.testing.assert_array_equal(rows, grid_index(side, full))
    taken = regrid(x, jnp.asarray(pixel_index(side, full, stored)), stored)
    expected = np.zeros((2, stored, stored, 2), np.float32)
    expected[:, :side, :side] = np.asarray(x)[:, rows][:, :, rows]
    np.testing.assert_array_equal(taken, expected)
    placed = regrid(taken, jnp.asarray(pixel_source(side, full, stored)), full)
    scattered = np.zeros(x.shape, np.float32)
    scattered[np.ix_([0, 1], rows, rows)] = expected[:, :side, :side]
    np.testing.assert_array_equal(placed, scattered)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("ratio", [2, 3])
def test_integer_ratio_is_a_dilated_convolution(ratio, stride):
    """On the full map with dilation d and padding d*p, read at multiples of d (stride d*s where strided)."""
    side, kernel = 5, 3
    x, w = random(1, side * ratio, side * ratio, 2), random(kernel, kernel, 2)
    sides = [(side, out_side(side, kernel, stride)), (side * ratio, out_side(side * ratio, kernel, stride))]
    y = ours(x, w, jnp.asarray([1.0, 0.0]), sides, None, stride, kernel // 2)
    rows = grid_index(sides[0][1], sides[1][1])
    dilated = lax.conv_general_dilated(
        x, w[:, :, None], (ratio * stride,) * 2, [(ratio, ratio)] * 2, rhs_dilation=(ratio, ratio),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2,
    )  # fmt: skip
    np.testing.assert_allclose(y[:, rows][:, :, rows], dilated[:, : len(rows), : len(rows)], rtol=1e-5, atol=1e-6)
    mask = np.ones(y.shape[1], bool)
    mask[rows] = False
    assert np.all(np.asarray(y)[:, mask] == 0) and np.all(np.asarray(y)[:, :, mask] == 0)


def test_uniform_gates_starve_no_pixel():
    """The plain sum leaves pixels of the largest grid alone at 1/6 of the amplitude; divided by coverage, none is."""
    options = (128, 160, 192, 224, 256, 288)
    sides = [(n // 8, n // 8) for n in options]
    choice = Choice("r", tuple(a for a, _ in sides))
    gates = Gates(jnp.full((1, 6), 1 / 6), Layout((choice,)))
    centre = jnp.zeros((3, 3, 1)).at[1, 1].set(1.0)
    x = jnp.ones((1, 36, 36, 1))
    plain = ours(x, centre, gates["r"], sides, None, 1, 1)
    repaired = ours(x, centre, gates["r"], sides, coverage(Quantity.of(choice), gates), 1, 1)
    assert float(plain.min()) == pytest.approx(1 / 6, rel=1e-5) and float(plain.max()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(repaired, 1, rtol=1e-5)


def test_pixel_weights_are_the_mean_of_each_grids_own_mean():
    choice = Choice("r", (3, 4, 7))
    gates = Gates(jnp.asarray([[0.2, 0.5, 0.3]]), Layout((choice,)))
    x = np.random.default_rng(0).normal(size=(7, 7))
    expected = 0.0
    for g, n in zip((0.2, 0.5, 0.3), choice.options, strict=True):
        expected += g * x[np.ix_(grid_index(n, 7), grid_index(n, 7))].mean()
    weights = pixel_weights(Quantity.of(choice), gates)
    assert float(jnp.sum(weights)) == pytest.approx(1, rel=1e-6)
    assert float(jnp.sum(weights * x)) == pytest.approx(expected, rel=1e-5)


def test_a_grid_with_next_to_no_weight_gives_finite_gradients():
    sides = [(4, 4), (6, 6)]
    x, w = random(1, 6, 6, 2), random(3, 3, 2)

    def loss(last):
        gate = jnp.stack([1 - last, last])
        return jnp.sum(ours(x, w, gate, sides, share_of(gate, sides), 1, 1) ** 2)

    for last in (0.0, 1e-38, 1e-20, 1e-4, 1.0):
        assert np.isfinite(jax.grad(loss)(jnp.float32(last)))
