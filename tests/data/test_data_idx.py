"""IDX files: what is written is read; what is damaged is refused in one line, plain and gzipped."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.data.idx import read_idx
from dnas.data.load import load
from dnas.errors import UserError


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, name, array, zipped):
    content = idx(np.asarray(array, np.uint8))
    (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)


IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 5), dtype=np.uint8)
LABELS = np.arange(30) % 3


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", ["-", "."])
def test_both_splits(tmp_path, zipped, separator):
    for split, count in (("train", 30), ("t10k", 12)):
        write(tmp_path, f"{split}-images{separator}idx3-ubyte", IMAGES[:count], zipped)
        write(tmp_path, f"{split}-labels{separator}idx1-ubyte", LABELS[:count], zipped)
    data = load(str(tmp_path))
    np.testing.assert_array_equal(data.train_images[..., 0], IMAGES)
    np.testing.assert_array_equal(data.test_labels, LABELS[:12])
    assert data.name == tmp_path.name and not data.notes


def test_training_files_alone_hold_out_a_test_split(tmp_path):
    write(tmp_path, "train-images-idx3-ubyte", IMAGES, False)
    write(tmp_path, "train-labels-idx1-ubyte", LABELS, True)
    data = load(str(tmp_path))
    assert (len(data.train_labels), len(data.test_labels)) == (24, 6) and data.notes


def test_other_names_validation_and_what_is_left_out(tmp_path):
    for split, count in (("Train", 30), ("test", 12), ("VALID", 6)):
        write(tmp_path, f"{split}-images-idx3-ubyte", IMAGES[:count], False)
        write(tmp_path, f"{split}-labels-idx1-ubyte", LABELS[:count], True)
    (tmp_path / "README").write_text("x")
    data = load(str(tmp_path))
    assert (len(data.train_labels), len(data.test_labels), data.validation) == (36, 12, 6)
    assert data.notes[0] == "left out: 1 other file: README" and data.origin.kind == "idx"


def test_names_are_known_in_any_case(tmp_path):
    write(tmp_path, "TRAIN-IMAGES-IDX3-UBYTE", IMAGES, True)
    write(tmp_path, "TRAIN-LABELS-IDX1-UBYTE", LABELS, True)
    for file in list(tmp_path.iterdir()):
        file.rename(file.with_suffix(".GZ"))
    assert len(load(str(tmp_path)).train_labels) == 24


def refused(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_missing_partners(tmp_path):
    write(tmp_path, "t10k-images-idx3-ubyte", IMAGES, False)
    write(tmp_path, "t10k-labels-idx1-ubyte", LABELS, False)
    refused(lambda: load(str(tmp_path)), "no training files")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    write(tmp_path, "train-images-idx3-ubyte", IMAGES, False)
    refused(lambda: load(str(tmp_path)), "only one of the two train files")
    write(tmp_path, "train-labels-idx1-ubyte", LABELS, False)
    refused(lambda: load(str(tmp_path)), "only one of the two test files")


GOOD = idx(IMAGES)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "cut short inside its header"),
        (GOOD[:9], "cut short inside its header"),
        (GOOD[:-1], "cut short"),
        (GOOD + b"\0", "longer than its header says"),
        (b"\0\0\x0d\x03" + GOOD[4:], "wrong magic number"),
        (idx(LABELS.astype(np.uint8)) + bytes(99), "wrong magic number"),
        (b"\x89PNG" + GOOD[4:], "wrong magic number"),
        (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "too large"),
        (GOOD[:4] + struct.pack(">3I", 10**5, 28, 28) + GOOD[16:], "cut short"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_bad_files(tmp_path, content, word, zipped):
    path = tmp_path / ("bad.gz" if zipped else "bad")
    path.write_bytes(gzip.compress(content) if zipped else content)
    refused(lambda: read_idx(path, 3), word, path.name)


def test_bad_gzip(tmp_path):
    path = tmp_path / "bad.gz"
    path.write_bytes(b"not gzip at all")
    refused(lambda: read_idx(path, 3), "damaged or cut short")
    refused(lambda: read_idx(tmp_path / "none", 3), "cannot be read")


@settings(max_examples=80, deadline=None)
@given(cut=st.integers(0, 10**6), zipped=st.booleans())
def test_every_cut_is_refused(tmp_path_factory, cut, zipped):
    content = gzip.compress(GOOD) if zipped else GOOD
    path = tmp_path_factory.mktemp("cut") / ("bad.gz" if zipped else "bad")
    path.write_bytes(content[: cut % len(content)])
    refused(lambda: read_idx(path, 3))


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, tail, headed, zipped):
    content = (b"\0\0\x08\x03" if headed else b"") + tail
    path = tmp_path_factory.mktemp("any") / ("f.gz" if zipped else "f")
    path.write_bytes(gzip.compress(content) if zipped else content)
    try:
        assert read_idx(path, 3).size == len(content) - 16
    except UserError as error:
        assert "\n" not in str(error)
