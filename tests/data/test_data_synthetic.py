"""The planted properties: what an option that is too small cannot see, and what the right one can."""

import numpy as np
import pytest

from dnas.data import synthetic

MAKERS = [
    synthetic.needs_large_kernel,
    synthetic.needs_high_resolution,
    synthetic.needs_global_statistic,
    synthetic.needs_large_window,
    synthetic.needs_shifted_window,
    synthetic.plain,
]


def windows(images, k):
    """[N, positions, k * k] of unit deviation."""
    x = (images[..., 0].astype(np.float32) - 127.5) / 40
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2)).reshape(len(x), -1, k * k)


def second_order(images, k):
    """[N, k * k * (k * k + 1) / 2]: products of pixel pairs in a window, averaged over the image."""
    w = windows(images, k)
    products = w.transpose(0, 2, 1) @ w / w.shape[1]
    return products[:, *np.triu_indices(k * k)]


def rectified(images, k, filters=60):
    """[N, filters]: random filters with bias, ReLU, averaged over the image: one layer and global pooling."""
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((k * k, filters)).astype(np.float32) / k
    bias = rng.standard_normal(filters).astype(np.float32)
    return np.concatenate(
        [np.maximum(windows(part, k) @ weights + bias, 0).mean(axis=1) for part in np.array_split(images, 20)]
    )


def accuracy(data, features):
    """Test accuracy of a ridge classifier on features of the images."""
    train, test = features(data.train_images), features(data.test_images)
    mean, std = train.mean(0), train.std(0) + 1e-9
    train, test = (np.c_[(f - mean) / std, np.ones(len(f))] for f in (train, test))
    target = np.eye(data.classes)[data.train_labels] - 1 / data.classes
    weights = np.linalg.solve(train.T @ train + 3 * np.eye(train.shape[1]), train.T @ target)
    return np.mean(np.argmax(test @ weights, axis=1) == data.test_labels)


@pytest.mark.parametrize("make", MAKERS)
def test_contract(make):
    data, again, other = make(3, count=64), make(3, count=64), make(4, count=64)
    assert data.fingerprint == again.fingerprint != other.fingerprint
    assert data.name == make.__name__ and data.train_images.shape[0] == 64 and data.channels == 1
    counts = np.bincount(data.train_labels)
    assert len(counts) == data.classes and counts.max() - counts.min() <= 1
    assert len(data.test_labels) == 16
    assert not np.array_equal(data.test_images, data.train_images[:16])


@pytest.mark.parametrize("classes", [2, 4])
def test_large_kernel_is_seen_by_five_and_not_by_three(classes):
    data = synthetic.needs_large_kernel(0, count=1600, classes=classes)
    chance = 1 / classes
    assert accuracy(data, lambda x: second_order(x, 5)) > 0.95
    assert accuracy(data, lambda x: second_order(x, 3)) < chance + 0.08
    assert accuracy(data, lambda x: rectified(x, 3)) < chance + 0.08


def test_large_kernel_moments_of_small_windows_agree():
    data = synthetic.needs_large_kernel(1, count=3000)
    for k, different in ((1, False), (2, False), (3, False), (4, True), (5, True)):
        moments = second_order(data.train_images, k)
        one, two = (moments[data.train_labels == label] for label in (0, 1))
        error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
        apart = np.abs(one.mean(0) - two.mean(0)) / error
        assert (apart.max() > 50) if different else (apart.max() < 4.5)
        if not different:  # nor do the spreads differ, which a threshold could use
            np.testing.assert_allclose(one.std(0), two.std(0), rtol=0.12)


def test_large_kernel_distance():
    data = synthetic.needs_large_kernel(0, count=1200, side=20, distance=5)
    assert accuracy(data, lambda x: second_order(x, 5)) < 0.58
    assert accuracy(data, lambda x: second_order(x, 6)) > 0.9
    with pytest.raises(ValueError, match="distance"):
        synthetic.needs_large_kernel(0, side=16, distance=5)


def subsample(images, r):
    grid = np.arange(r) * images.shape[1] // r
    return images[:, grid][:, :, grid]


@pytest.mark.parametrize("smaller", [None, (8, 12, 14), (6,)])
def test_low_resolutions_hold_no_trace_of_the_class(smaller):
    options = {"count": 200, "side": 16, "smaller": smaller}
    # the same noise under other labels: what a low resolution sees is the same to the bit, so it cannot depend on them
    two, four = (synthetic.needs_high_resolution(0, classes=classes, **options) for classes in (2, 4))
    assert not np.array_equal(two.train_labels, four.train_labels)
    assert not np.array_equal(two.train_images, four.train_images)
    for r in smaller or (8, 12):
        np.testing.assert_array_equal(subsample(two.train_images, r), subsample(four.train_images, r))


@pytest.mark.parametrize("classes", [2, 4])
def test_full_resolution_is_seen_by_a_small_kernel(classes):
    data = synthetic.needs_high_resolution(0, count=1200, side=24, classes=classes)
    assert accuracy(data, lambda x: second_order(x, 3)) > 0.95
    assert accuracy(data, lambda x: rectified(x, 3)) > 0.9
    for r in (12, 18):
        assert accuracy(data, lambda x, r=r: second_order(subsample(x, r), 5)) < 1 / classes + 0.08


def test_high_resolution_mistakes():
    with pytest.raises(ValueError, match="together keep"):
        synthetic.needs_high_resolution(0, side=32, smaller=(31, 28))
    with pytest.raises(ValueError, match="not in 1"):
        synthetic.needs_high_resolution(0, side=32, smaller=(32,))


def test_global_statistic_defeats_sums_and_yields_to_gates():
    data = synthetic.needs_global_statistic(0, count=1200, side=24)
    assert accuracy(data, lambda x: rectified(x, 3)) < 0.6
    assert accuracy(data, lambda x: second_order(x, 5)) < 0.6

    def gated(images):
        local = rectified(images, 3, 30)
        bright = (images.mean(axis=(1, 2, 3)) > 127.5)[:, None]
        return np.concatenate([local * bright, local * ~bright], axis=1)

    assert accuracy(data, gated) > 0.97


def test_global_statistic_is_a_balanced_exclusive_or():
    data = synthetic.needs_global_statistic(2, count=400)
    x = data.train_images[..., 0].astype(float)
    bright = x[:, :, -12:].mean(axis=(1, 2)) > 127.5
    left = x[:, :, :12]
    vertical = np.abs(np.diff(left, axis=2)).mean(axis=(1, 2)) > np.abs(np.diff(left, axis=1)).mean(axis=(1, 2))
    np.testing.assert_array_equal(bright ^ vertical, data.train_labels)
    assert {int(np.sum((bright == a) & (vertical == b))) for a in (0, 1) for b in (0, 1)} == {100}
    with pytest.raises(ValueError, match="gap"):
        synthetic.needs_global_statistic(0, side=16, gap=12)


def means(images, window, shift=0):
    """[N, windows]: mean brightness of aligned windows, about -1 to 1."""
    x = (images[:, shift:, shift:, 0].astype(np.float64) - 127.5) / 40
    n, count = len(x), x.shape[1] // window
    x = x[:, : count * window, : count * window]
    return x.reshape(n, count, window, count, window).mean(axis=(2, 4)).reshape(n, -1)


def levels(images, window, shift=0):
    """[N, 9]: how many windows are about as bright as each of nine levels."""
    edges = np.linspace(-1.25, 1.25, 10)
    return np.stack([np.histogram(row, edges)[0] for row in means(images, window, shift)]).astype(float)


def test_large_window_is_the_same_squares_in_both_classes():
    data = synthetic.needs_large_window(0, count=1200)
    assert np.all((means(data.train_images, 4) > 0).sum(axis=1) == 8)
    assert accuracy(data, lambda x: levels(x, 4)) < 0.57
    assert accuracy(data, lambda x: levels(x, 8)) > 0.99


def test_shifted_window_is_seen_by_windows_half_a_window_further():
    data = synthetic.needs_shifted_window(0, count=1200)
    assert data.side == 12
    assert accuracy(data, lambda x: levels(x, 4)) < 0.7
    assert accuracy(data, lambda x: levels(x, 4, 2)) > 0.99
    for label in (0, 1):  # squares are independent coins within a window: the middle one's mean has their spread
        middle = means(data.train_images[data.train_labels == label], 4)[:, 4]
        assert abs(middle.mean()) < 0.1 and abs(middle.std() - 0.5) < 0.05
    with pytest.raises(ValueError, match="odd"):
        synthetic.needs_shifted_window(0, window=3)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_plain_needs_one_number(classes):
    data = synthetic.plain(0, count=800, classes=classes)

    def mean(images):
        return images.mean(axis=(1, 2, 3), dtype=np.float64)

    levels = np.array([mean(data.train_images[data.train_labels == k]).mean() for k in range(classes)])
    assert np.all(np.diff(levels) > 5)
    nearest = np.argmin(np.abs(mean(data.test_images)[:, None] - levels), axis=1)
    assert np.mean(nearest == data.test_labels) > 0.99


@pytest.mark.parametrize("make", [synthetic.needs_large_kernel, synthetic.needs_high_resolution, synthetic.plain])
@pytest.mark.parametrize("classes", [1, 11])
def test_class_counts_out_of_range(make, classes):
    with pytest.raises(ValueError, match="classes"):
        make(0, classes=classes)
