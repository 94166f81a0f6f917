"""Mixing and covering images: against per-pixel loops in numpy, and the draws' own statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnas.data.mix import blend, box_mask, erase, mix, random_crop

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 2)).astype(np.float32)


def test_blending_is_pixel_by_pixel():
    mask = np.random.default_rng(1).uniform(size=(8, 6)).astype(np.float32)
    found = blend(jnp.asarray(IMAGES), jnp.asarray(mask))
    for n in range(5):
        for i in range(8):
            for j in range(6):
                wanted = mask[i, j] * IMAGES[n, i, j] + (1 - mask[i, j]) * IMAGES[4 - n, i, j]
                np.testing.assert_allclose(found[n, i, j], wanted, rtol=1e-5)


@given(seed=st.integers(0, 1000))
def test_mixup_is_one_share_for_all(seed):
    mixed, share = mix(jnp.asarray(IMAGES), jax.random.key(seed), 0.4, 0.0)
    np.testing.assert_allclose(mixed, share * IMAGES + (1 - share) * IMAGES[::-1], atol=1e-3)
    assert 0 <= float(share) <= 1


@given(seed=st.integers(0, 1000))
def test_cutmix_is_a_box_and_the_label_follows_its_area(seed):
    images = jnp.broadcast_to(jnp.arange(5.0)[:, None, None, None], (5, 8, 6, 1))
    mixed, share = mix(images, jax.random.key(seed), 0.0, 1.0)
    foreign = np.asarray(mixed)[0, :, :, 0] == 4
    assert float(share) == pytest.approx(1 - foreign.mean(), abs=1e-6)
    rows, columns = np.flatnonzero(foreign.any(1)), np.flatnonzero(foreign.any(0))
    if foreign.any():
        assert foreign[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert foreign.sum() == len(rows) * len(columns)


def test_the_box_covers_its_share_in_the_mean():
    """An uncut box covers 1 - lambda; those that the edges cut cover less."""
    masks = jax.vmap(lambda key: box_mask(key, (32, 32), 1.0))(jax.random.split(jax.random.key(0), 2000))
    covered = 1 - np.asarray(jnp.mean(masks, (1, 2)))
    assert 0.25 < covered.mean() < 0.45 and covered.min() == 0 and covered.max() <= 1


def test_switch_and_probability():
    def kinds(**options):
        keys = jax.random.split(jax.random.key(0), 300)
        return np.asarray(jax.vmap(lambda k: mix(jnp.asarray(IMAGES), k, 1.0, 1.0, **options)[0])(keys))

    def is_mixup(mixed):
        inside = np.isclose(mixed[0], IMAGES[0]).all(-1) | np.isclose(mixed[0], IMAGES[4]).all(-1)
        return not inside.all()

    assert sum(map(is_mixup, kinds(switch=0.0))) > 290 and sum(map(is_mixup, kinds(switch=1.0))) == 0
    assert 100 < sum(map(is_mixup, kinds(switch=0.5))) < 200
    untouched = [np.allclose(m, IMAGES) for m in kinds(probability=0.25, switch=0.0)]
    assert 190 < sum(untouched) < 260
    mixed, share = mix(jnp.asarray(IMAGES), jax.random.key(0), 0.0, 0.0)
    assert mixed is not None and float(share) == 1 and np.array_equal(mixed, IMAGES)


@given(seed=st.integers(0, 500))
def test_erasing_covers_one_rectangle(seed):
    images = jnp.zeros((4, 20, 16, 1)).at[:, ::2].set(255.0)
    covered = np.asarray(erase(images, jax.random.key(seed), 1.0) != images)[..., 0]
    for one in covered:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert len(rows) and one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.99
        assert one.sum() <= 0.45 * 320


def test_erasing_has_its_probability():
    images = jnp.broadcast_to(jnp.arange(16.0)[None, None, :, None], (2000, 16, 16, 1))
    changed = np.asarray(jnp.any(erase(images, jax.random.key(0), 0.25) != images, (1, 2, 3)))
    assert 0.2 < changed.mean() < 0.3
    assert erase(images, jax.random.key(0), 0.0) is images


@given(seed=st.integers(0, 500), side=st.sampled_from([3, 8, 24, 40]))
def test_a_crop_of_a_ramp_is_a_ramp(seed, side):
    """Bilinear resizing is exact on a linear image: values rise evenly and stay within the image's own."""
    ramp = jnp.broadcast_to(jnp.arange(24.0)[None, None, :, None], (3, 24, 24, 1))
    found = np.asarray(random_crop(ramp, jax.random.key(seed), 0.2, side))
    assert found.shape == (3, side, side, 1)
    assert found.min() >= 0 and found.max() <= 23
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], found.shape), atol=1e-3)  # rows agree
    steps = np.diff(found[:, 0, :, 0])
    assert (steps >= -1e-4).all()
    if side >= 24:  # enlarged: exact but at the edges, where a pixel has no further neighbour
        np.testing.assert_allclose(steps[:, 2:-2], np.broadcast_to(steps[:, 2:3], steps[:, 2:-2].shape), atol=1e-3)


def test_no_crop_where_the_whole_image_is_asked_for():
    images = jnp.asarray(IMAGES)
    assert random_crop(images, jax.random.key(0), 1.0, 4) is images
