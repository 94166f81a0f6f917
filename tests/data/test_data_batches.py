"""Search splits and batches: everything is covered once, and depends on (seed, step) alone."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnas.data.batches import Batches, batch_indices, prefetch, steps_of, steps_per_epoch
from dnas.data.build import build
from dnas.data.load import load
from dnas.data.shuffle import permutation, stratified
from dnas.data.splits import search_split
from dnas.errors import InputError, UserError


def test_search_split_of_the_embedded_data():
    data = load()
    split = search_split(data, seed=0)
    assert (len(split.weights_index), len(split.theta_index)) == (3200, 800)
    assert set(np.bincount(data.train_labels[split.theta_index])) == {80}
    np.testing.assert_array_equal(np.sort(np.concatenate([split.weights_index, split.theta_index])), np.arange(4000))
    np.testing.assert_array_equal(split.theta_index, search_split(data, seed=0).theta_index)
    assert not np.array_equal(split.theta_index, search_split(data, seed=1).theta_index)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0.01, 0.99),
    seed=st.integers(-(2**70), 2**70),
)
def test_stratified_parts_every_class(labels, share, seed):
    labels = np.array(labels)
    rest, taken = stratified(labels, share, seed, 2)
    assert sorted([*rest, *taken]) == list(range(len(labels)))
    for label in np.unique(labels):
        n, got = np.sum(labels == label), np.sum(labels[taken] == label)
        assert n - got >= 1 and (n == 1 or got >= 1)
        assert abs(got - n * share) <= 0.5 + 1e-9 or got in (1, n - 1)


def small(labels):
    labels = np.array(labels)
    images = np.zeros((len(labels), 2, 2), np.uint8)
    return build("w", "n", (images, labels), (images, labels))


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_bad_share(share):
    with pytest.raises(UserError, match="theta_share"):
        search_split(small([0, 0, 1, 1]), 0, share)


def test_too_few_to_split():
    with pytest.raises(UserError, match="two training images"):
        search_split(small([0, 1]), 0)


def test_permutations_are_fixed_for_good():
    assert permutation(8, 0, 1, 0).tolist() == PERMUTATION
    assert permutation(8, 2**64, 1, 0).tolist() == PERMUTATION
    others = [permutation(50, *key).tolist() for key in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1))]
    assert len({tuple(o) for o in others}) == 4


PERMUTATION = [2, 5, 0, 4, 3, 6, 7, 1]

sizes = st.integers(1, 50)


@given(count=sizes, batch=sizes, seed=st.integers(0, 2**32), epoch=st.integers(0, 1000))
def test_an_epoch_covers_every_element_once(count, batch, seed, epoch):
    index = np.arange(100, 100 + 3 * count, 3)
    steps = steps_per_epoch(count, batch)
    seen = [batch_indices(index, batch, seed, epoch * steps + i) for i in range(steps)]
    assert all(len(s) == batch for s in seen)
    times = np.unique_counts(np.concatenate(seen))
    assert set(times.values) <= set(index)
    if batch > count:  # one batch, filled by repeating the permutation
        assert len(times.values) == count and times.counts.max() - times.counts.min() <= 1
    else:
        assert times.counts.max() == 1 and len(times.values) == count - count % batch


def stream(count=23, batch=5, seed=3):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
    return Batches(images, np.arange(40, dtype=np.int32), np.arange(count) + 10, batch, seed)


def test_a_step_does_not_depend_on_what_was_read_before():
    batches = stream()
    assert batches.steps_per_epoch == 4
    backwards = {step: batches.at(step) for step in reversed(range(12))}
    for step in range(12):
        images, labels = stream().at(step)
        np.testing.assert_array_equal(images, backwards[step][0])
        np.testing.assert_array_equal(labels, backwards[step][1])
        np.testing.assert_array_equal(images, batches.images[labels])
    assert not np.array_equal(stream().at(0)[1], stream().at(4)[1])
    assert not np.array_equal(stream().at(0)[1], stream(seed=4).at(0)[1])


@pytest.mark.parametrize(("count", "batch"), [(0, 5), (5, 0)])
def test_bad_batches(count, batch):
    with pytest.raises(UserError):
        stream(count, batch)


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (5, 6), (3, 3)])
def test_prefetch_gives_the_same_batches(start, stop):
    got = list(prefetch(stream(), start, stop))
    assert len(got) == stop - start
    for step, (images, labels) in zip(range(start, stop), got, strict=True):
        np.testing.assert_array_equal(images, stream().at(step)[0])
        np.testing.assert_array_equal(labels, stream().at(step)[1])


def threads():
    return [t for t in threading.enumerate() if t.name == "dnas-prefetch"]


def test_prefetch_ends_its_thread_when_left():
    reader = prefetch(stream(), 0, 10**9)
    next(reader)
    assert len(threads()) == 1
    reader.close()
    assert not threads()


def test_prefetch_raises_in_the_reader():
    batches = stream()
    object.__setattr__(batches, "index", np.array([999] * 23))
    with pytest.raises(IndexError):
        list(prefetch(batches, 0, 5))
    assert not threads()


def test_more_steps_than_can_be_counted_are_refused():
    assert steps_of(2.5, 100, 10) == 25
    with pytest.raises(InputError, match=r"--epochs: 1e\+13 steps .*at most 2,147,483,647 steps"):
        steps_of(1e12, 100, 10)
