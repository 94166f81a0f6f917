"""RandAugment: each operation against Pillow's, where Pillow has it, and the draw's own properties."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.data.randaugment import OPERATIONS, rand_augment

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(20, 230, (6, 12, 10, 3)).astype(np.uint8)
ONE, NONE = np.ones(6), np.zeros(6)


def pillow_of(change):
    """The images through a function of Pillow."""
    image = pytest.importorskip("PIL.Image")
    ops, enhance = pytest.importorskip("PIL.ImageOps"), pytest.importorskip("PIL.ImageEnhance")
    return np.stack([np.asarray(change(image.fromarray(x), ops, enhance)) for x in IMAGES])


@pytest.mark.parametrize(
    ("name", "level", "change"),
    [
        ("autocontrast", 0.5, lambda x, ops, e: ops.autocontrast(x)),
        ("equalize", 0.5, lambda x, ops, e: ops.equalize(x)),
        ("invert", 0.5, lambda x, ops, e: ops.invert(x)),
        ("posterize", 0.5, lambda x, ops, e: ops.posterize(x, 2)),
        ("solarize", 0.25, lambda x, ops, e: ops.solarize(x, 192)),
        ("color", 0.5, lambda x, ops, e: e.Color(x).enhance(1.45)),
        ("contrast", 0.5, lambda x, ops, e: e.Contrast(x).enhance(1.45)),
        ("brightness", 0.5, lambda x, ops, e: e.Brightness(x).enhance(1.45)),
        ("sharpness", 0.5, lambda x, ops, e: e.Sharpness(x).enhance(1.45)),
    ],
)
def test_equals_pillow(name, level, change):
    found = OPERATIONS[name](IMAGES, level * ONE, ONE)
    wanted = pillow_of(change)
    assert found.dtype == np.uint8 and found.shape == IMAGES.shape
    # One grey level: Pillow rounds intermediate images (luma, smoothing, mean) to integers.
    apart = np.abs(found.astype(int) - wanted.astype(int))
    limit = {"autocontrast": 1, "color": 2, "contrast": 2, "brightness": 1, "sharpness": 2}.get(name, 0)
    assert apart.max() <= limit


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y"])
def test_warps_move_pixels_as_plain_bilinear_sampling_does(name):
    level, sign = np.linspace(0.1, 1, 6), np.array([1, -1, 1, -1, 1, -1])
    found = OPERATIONS[name](IMAGES, level, sign)
    for n in range(6):
        a = level[n] * sign[n]
        turn = np.deg2rad(30 * a)
        matrix = {
            "rotate": [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]],
            "shear_x": [[1, 0], [0.3 * a, 1]],
            "shear_y": [[1, 0.3 * a], [0, 1]],
        }[name]
        for i in range(12):
            for j in range(10):
                row, column = np.array(matrix) @ [i - 5.5, j - 4.5] + [5.5, 4.5]
                total = np.zeros(3)
                for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                    for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                        value = IMAGES[n, r, c] if 0 <= r < 12 and 0 <= c < 10 else np.full(3, 128)
                        total += (1 - abs(row - r)) * (1 - abs(column - c)) * value
                assert np.abs(found[n, i, j] - total).max() <= 1, (n, i, j)


def test_translation_by_whole_pixels_is_a_shift():
    x = IMAGES[:1]
    found = OPERATIONS["translate_x"](x, np.array([2 / 4.5]), np.array([1.0]))  # 0.45 of 10 columns, 2 of them
    np.testing.assert_array_equal(found[0, :, :8], x[0, :, 2:])
    assert (found[0, :, 8:] == 128).all()
    found = OPERATIONS["translate_y"](x, np.array([3 / 5.4]), np.array([-1.0]))
    np.testing.assert_array_equal(found[0, 3:], x[0, :9])


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize", "invert", "posterize"}))
def test_level_zero_changes_nothing(name):
    np.testing.assert_array_equal(OPERATIONS[name](IMAGES, NONE, ONE), IMAGES)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_number_of_channels_and_flat_images(name, channels):
    x = np.concatenate([GENERATOR.integers(0, 256, (3, 5, 5, channels)), np.full((3, 5, 5, channels), 77)])
    x = x.astype(np.uint8)
    for level in (0.0, 0.3, 1.0):
        found = OPERATIONS[name](x, level * ONE, -ONE)
        assert found.shape == x.shape and found.dtype == np.uint8
    if channels == 1 and name == "color":
        np.testing.assert_array_equal(OPERATIONS[name](x, ONE, ONE), x)


def test_the_draw_is_a_function_of_seed_and_number():
    first, again = (rand_augment(IMAGES, 2, 9, 0.5, 0.5, 3, 17) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, rand_augment(IMAGES, 2, 9, 0.5, 0.5, 3, 18))
    assert not np.array_equal(first, rand_augment(IMAGES, 2, 9, 0.5, 0.5, 4, 17))


def test_rows_of_a_batch_get_what_they_get_in_the_whole_batch():
    many = np.concatenate([IMAGES] * 3)
    whole = rand_augment(many, 2, 9, 0.5, 0.5, 3, 17)
    for rows in (np.arange(2), np.arange(1, len(many)), np.array([0, 4])):
        own = rand_augment(many[rows], 2, 9, 0.5, 0.5, 3, 17, rows, len(many))
        np.testing.assert_array_equal(own, whole[rows])


def test_probability_and_layers():
    many = np.repeat(IMAGES[:1], 2000, axis=0)
    assert np.array_equal(rand_augment(many, 2, 9, 0.5, 0.0, 0, 0), many)
    assert np.array_equal(rand_augment(many, 0, 9, 0.5, 1.0, 0, 0), many)
    changed = (rand_augment(many, 1, 9, 0.0, 0.5, 0, 0) != many).any((1, 2, 3))
    assert 0.42 < changed.mean() < 0.55
    always = (rand_augment(many, 1, 9, 0.0, 1.0, 0, 0) != many).any((1, 2, 3)).mean()
    assert always == pytest.approx(14 / 15, abs=0.02)  # equalize has nothing to do where all values are rare
