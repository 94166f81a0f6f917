"""Preprocessing against jax's own resize and slow numpy twins; its JSON form; augmentation."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.data.augment import augment
from dnas.data.load import load
from dnas.data.preprocess import Preprocessing, prepare, preprocessing_for, statistics
from dnas.errors import UserError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
RGB = RNG.integers(0, 256, (3, 10, 10, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def identity(side, channels, **changes):
    return Preprocessing(side, channels, (0.0,) * channels, (1.0,) * channels, **changes)


@pytest.mark.parametrize("images", [GRAY, RGB])
@pytest.mark.parametrize("side", [1, 5, 13, 28, 64, 97])
def test_bilinear_is_jax_image_resize(images, side):
    channels = images.shape[3]
    ours = jax.jit(prepare, static_argnums=1)(images, identity(side, channels))
    shape = (len(images), side, side, channels)
    theirs = jax.image.resize(images.astype(np.float32) / 255, shape, method="bilinear", antialias=True)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("side", [4, 7, 10, 15])
def test_nearest_takes_the_floor(side):
    ours = prepare(RGB, identity(side, 3, interpolation="nearest", scale=1.0))
    at = [int(np.floor(i * 10 / side)) for i in range(side)]
    np.testing.assert_array_equal(ours, RGB[:, at][:, :, at])


def test_same_side_is_exact():
    np.testing.assert_array_equal(prepare(RGB, identity(10, 3, scale=1.0)), RGB.astype(np.float32))


def test_normalised_and_repeated():
    p = Preprocessing(28, 3, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    ours = prepare(GRAY, p)
    expected = (GRAY / 255 - np.array(p.mean)) / np.array(p.std)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_channels_that_do_not_fit():
    with pytest.raises(UserError, match="3 channels cannot become 1"):
        prepare(RGB, identity(10, 1))
    with pytest.raises(UserError, match="channels"):
        preprocessing_for(load(), channels=0)


def test_statistics_are_exact():
    mean, std = statistics(RGB)
    flat = RGB.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, flat.mean(0), atol=6e-7)
    np.testing.assert_allclose(std, flat.std(0), atol=6e-7)
    assert statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == ((0.2,), (1.0,))
    assert statistics(load().train_images) == STATISTICS


STATISTICS = ((0.285934,), (0.353341,))


def test_of_a_dataset():
    p = preprocessing_for(load(), side=64, channels=3)
    assert (p.side, p.channels, p.mean, p.std) == (64, 3, STATISTICS[0] * 3, STATISTICS[1] * 3)
    x = np.asarray(prepare(load().train_images[:500], preprocessing_for(load())))
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05
    for bad in (dict(side=0), dict(side=5000), dict(interpolation="cubic"), dict(channels=99)):
        with pytest.raises(UserError):
            preprocessing_for(load(), **bad)


def test_json_round_trip():
    p = preprocessing_for(load(), side=64, channels=3)
    again = Preprocessing.from_json(json.loads(json.dumps(p.to_json())))
    assert again == p and hash(again) == hash(p)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("side", 0),
        ("side", True),
        ("side", 28.0),
        ("side", 10**6),
        ("channels", 2),
        ("mean", 0.5),
        ("mean", [0.1]),
        ("mean", ["a", 0, 0]),
        ("mean", [float("nan"), 0, 0]),
        ("std", [1, 1, 0]),
        ("std", [1, 1, -1]),
        ("std", [1, 1, float("inf")]),
        ("interpolation", "cubic"),
        ("interpolation", ["bilinear"]),
        ("scale", 0),
        ("scale", None),
        ("colour", 1),
    ],
)
def test_json_mistakes_are_named(field, value):
    data = identity(28, 3).to_json() | {field: value}
    with pytest.raises(UserError) as caught:
        Preprocessing.from_json(data, "a.json: preprocessing")
    message = str(caught.value)
    assert message.startswith("a.json: preprocessing") and "\n" not in message
    assert field in message or field == "channels"


def test_json_missing_fields():
    data = identity(28, 3).to_json()
    del data["std"]
    with pytest.raises(UserError, match="'std' is missing"):
        Preprocessing.from_json(data)
    with pytest.raises(UserError, match="not an object"):
        Preprocessing.from_json([1])
    with pytest.raises(UserError, match="did you mean 'std'"):
        Preprocessing.from_json(data | {"sdt": 1})


def shifts(image, padding, flip):
    """Every image that augmentation may make of this one."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="edge")
    side = len(image)
    made = [padded[i : i + side, j : j + side] for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
    return {m.tobytes() for m in made} | ({m[:, ::-1].tobytes() for m in made} if flip else set())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_augmented_images_are_crops_and_all_occur(padding, flip):
    images = np.repeat(RGB[:1], 600, axis=0)
    run = jax.jit(augment, static_argnums=(2, 3))
    made = run(images, jax.random.key(0), padding, flip)
    assert made.dtype == np.uint8 and made.shape == images.shape
    assert {np.asarray(m).tobytes() for m in made} == shifts(RGB[0], padding, flip)
    np.testing.assert_array_equal(made, run(images, jax.random.key(0), padding, flip))


def test_augmentation_of_prepared_images():
    x = prepare(GRAY, identity(28, 1))
    np.testing.assert_array_equal(augment(x, jax.random.key(1), 0, False), x)


def test_the_record_says_all_that_is_done():
    """What older files lack may be missing; what is not done is refused; a grid's rows and columns are taken."""
    p = identity(10, 3, scale=1.0).taken_at(7)
    written = p.to_json()
    assert written["colour"] == "RGB" and written["orientation"] == "exif" and written["layout"] == "NHWC"
    assert written["resize"]["shortest_edge"] == written["crop"]["side"] == 10
    assert written["subgrid"] == {"side": 7, "of": 10, "index": "i * 10 // 7"}
    at = [i * 10 // 7 for i in range(7)]
    np.testing.assert_array_equal(prepare(RGB, p), RGB[:, at][:, :, at].astype(np.float32))
    old = {key: written[key] for key in ("side", "channels", "mean", "std", "interpolation", "scale")}
    assert Preprocessing.from_json(old) == p.taken_at(10) and p.taken_at(10).grid is None
    assert Preprocessing.from_json(p.to_json("NCHW")) == p
    assert identity(10, 1).to_json()["colour"] == "L" and "crop" not in identity(10, 2).to_json()
    for change in (
        {"subgrid": 7}, {"subgrid": {"side": 11}}, {"subgrid": {"side": 7, "of": 9}}, {"orientation": "none"},
        {"background": [0, 0, 0]}, {"crop": None}, {"layout": "CHW"}, {"resize": {"method": "bicubic"}},
    ):  # fmt: skip
        with pytest.raises(UserError, match=next(iter(change))):
            Preprocessing.from_json(written | change)
