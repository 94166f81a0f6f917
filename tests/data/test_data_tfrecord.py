"""TFRecord files as TFDS writes them (`tests/data/tfds`), read without TensorFlow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dnas.data.load import load
from dnas.data.reading import Reading
from dnas.errors import InputError

pytest.importorskip("PIL.Image")
WRITTEN = Path(__file__).with_name("tfds")
IN_TRAIN, IN_TEST = (6, 5, 4, 0, 8, 3, 1, 7, 2), (12, 9, 10, 11)
"""The order in which TFDS itself reads them."""
MEMORY, STREAM = Reading(data_in="memory", readers=0), Reading(data_in="stream", readers=0)


def pixels(number):
    return ((np.arange(192).reshape(8, 8, 3) * 7 + 31 * number) % 256).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    shutil.copytree(WRITTEN, tmp_path / "tiny")
    return tmp_path / "tiny"


def refused(root, match):
    with pytest.raises(InputError, match=match) as caught:
        load(str(root), side=8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reading", [MEMORY, STREAM], ids=["memory", "stream"])
def test_images_labels_and_names_are_those_that_tfds_reads(root, reading):
    data = load(str(root), side=8, reading=reading)
    assert data.class_names == ("ant", "bee") and data.origin.kind == "tfrecord" and not data.validation
    for images, labels, numbers in (
        (data.train_images, data.train_labels, IN_TRAIN), (data.test_images, data.test_labels, IN_TEST)
    ):  # fmt: skip
        assert labels.tolist() == [number % 2 for number in numbers]
        np.testing.assert_array_equal(np.asarray(images), [pixels(number) for number in numbers])


def test_without_the_list_of_features_common_names_are_tried(root):
    (root / "features.json").unlink()
    refused(root, "train.tfrecord-00000-of-00001: record 0: a feature is missing .*picture.*accepted: image")


def test_files_that_are_none_are_named(root):
    train = root / "tiny-train.tfrecord-00000-of-00001"
    content = train.read_bytes()
    for damaged in (content[:-1], content[:700], b"no records", content[:4] + b"\xff" + content[5:]):
        train.write_bytes(damaged)
        refused(root, f"{train.name}: cannot be read as TFRecord: cut off, compressed, or another kind of file")
    train.write_bytes(content[:12] + b"\xff" * (len(content) - 12))
    refused(root, "cannot be read as TFRecord")
    assert content.count(b"\x0a\x07species")
    train.write_bytes(content.replace(b"\x0a\x07species", b"\x12\x07species"))
    refused(root, "cannot be read as TFRecord: a record is no tf.train.Example")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("species"), "no feature of the type ClassLabel .found 'number: Tensor, picture: Image'"),
        (lambda f: f.pop("picture"), "no feature of the type Image"),
        (lambda f: f.update(other=f["species"]), "several features of the type ClassLabel .found 'species, other'"),
        (lambda f: f.update(other=3), "not the features of a data set"),
    ],
)
def test_features_that_do_not_tell_image_and_class_are_refused(root, change, said):
    file = root / "features.json"
    document = json.loads(file.read_text())
    change(document["featuresDict"]["features"])
    file.write_text(json.dumps(document))
    refused(root, f"features.json: {said}")
