"""Tar shards and ArrayRecord files, written here, hold what a folder of the same images holds."""

import io
import json
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnas.data.batches import Batches
from dnas.data.load import load, scan
from dnas.data.reading import Reading
from dnas.errors import DataError, InputError

Image = pytest.importorskip("PIL.Image")
MEMORY, STREAM = Reading(data_in="memory", readers=0), Reading(data_in="stream", readers=0)


def pictures(count=6, classes=3, seed=0):
    """Encoded images and labels."""
    rng = np.random.default_rng(seed)
    for number in range(count * classes):
        out = io.BytesIO()
        pixels = rng.integers(0, 255, (20 + number % 3, 25, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(out, ("JPEG", "PNG")[number % 2])
        yield out.getvalue(), number % classes


def add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write_tars(root, found, split="train", shards=2, in_json=False, nested=False):
    found = list(found)
    for shard in range(shards):
        file = root / split / f"{shard:03}.tar" if nested else root / f"some-{split}-{shard:03}.tar"
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w") as archive:
            for number in range(shard, len(found), shards):
                data, label = found[number]
                end, content = ("json", json.dumps({"label": label})) if in_json else ("cls", str(label))
                add(archive, f"x/{number:04}.{end}", content.encode())
                add(archive, f"x/{number:04}.jpg", data)
    return root


def varint(value):
    out, value = b"", value % 2**64
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features):
    """A `tf.train.Example`, as TensorFlow writes it."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, float):
            feature = field(2, field(1, struct.pack("<f", value)))
        else:
            feature = field(3, field(1, varint(value)))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write_records(root, found, split="train", shards=2):
    module = pytest.importorskip("array_record.python.array_record_module")
    found = list(found)
    root.mkdir(exist_ok=True)
    for shard in range(shards):
        name = f"made-{split}.array_record-{shard:05}-of-{shards:05}"
        writer = module.ArrayRecordWriter(str(root / name), "group_size:1")
        for number in range(shard, len(found), shards):
            data, label = found[number]
            writer.write(example({"file_name": b"a.jpg", "weight": 0.5, "image": data, "label": label}))
        writer.close()
    return root


def in_shards(found, shards=2):
    """The order that shards give images."""
    found = list(found)
    return [found[number] for shard in range(shards) for number in range(shard, len(found), shards)]


WRITERS = {"tar": write_tars, "array_record": write_records}


def write_tfrecords(root, found, split="train"):
    root.mkdir(exist_ok=True)
    records = [example({"image": data, "label": label}) for data, label in found]
    content = b"".join(struct.pack("<QI", len(record), 0) + record + bytes(4) for record in records)
    (root / f"made-{split}.tfrecord-00000-of-00001").write_bytes(content)
    return root


@pytest.mark.parametrize("write", [write_records, write_tfrecords])
def test_a_split_without_labels_is_left_out_and_told(tmp_path, write):
    write(tmp_path, pictures())
    write(tmp_path, [(data, -1) for data, _ in pictures(1, seed=1)], "test")
    write(tmp_path, pictures(2, seed=2), "val")
    data = load(str(tmp_path), side=8, reading=MEMORY)
    assert "left out: the test split, which has no labels" in data.notes
    assert (len(data.train_labels), len(data.test_labels), data.class_names) == (18, 6, ("0", "1", "2"))
    write(tmp_path, [(data, -1 - label % 2) for data, label in pictures(1, seed=1)], "test")
    refused(tmp_path, "record .: the label is no class's number .found -2; accepted: from 0, or -1 if it is missing")
    write(tmp_path, [(data, label - 1) for data, label in pictures(1, seed=1)], "test")
    refused(tmp_path, "test labels out of range .found -1")
    write(tmp_path, [(data, 2**31) for data, _ in pictures(1, seed=1)], "test")
    refused(tmp_path, "the label is no class's number .found 2147483648")
    write(tmp_path / "train", [(data, -1) for data, _ in pictures(1, seed=1)])
    refused(tmp_path / "train", "train labels out of range .found -1")


@pytest.mark.parametrize("kind", WRITERS)
def test_shards_are_read_streamed_and_in_memory(tmp_path, kind):
    WRITERS[kind](tmp_path, pictures())
    WRITERS[kind](tmp_path, pictures(2, seed=1), "val", shards=1)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncow\n")
    assert scan(str(tmp_path)).native_side == 21
    memory, streamed = (load(str(tmp_path), side=16, reading=reading) for reading in (MEMORY, STREAM))
    assert streamed.streamed and not memory.streamed and memory.class_names == ("ant", "bee", "cow")
    assert memory.origin.kind == kind and memory.origin.listing == streamed.origin.listing
    expected = in_shards(pictures())
    assert streamed.train_labels.tolist() == memory.train_labels.tolist() == [label for _, label in expected]
    from dnas.data.picture import read_picture

    for row, (data, _) in zip(memory.train_images, expected, strict=True):
        np.testing.assert_array_equal(row, read_picture(io.BytesIO(data), 16).pixels)
    np.testing.assert_array_equal(np.asarray(streamed.train_images), memory.train_images)
    np.testing.assert_array_equal(np.asarray(streamed.test_images), memory.test_images)
    batches = [Batches(d.train_images, d.train_labels, np.arange(18), 8, seed=1).at(3) for d in (memory, streamed)]
    np.testing.assert_array_equal(batches[0][0], batches[1][0])


def test_splits_may_be_folders_and_labels_json(tmp_path):
    write_tars(tmp_path, pictures(), in_json=True, nested=True)
    write_tars(tmp_path, pictures(2, seed=1), "validation", in_json=True, nested=True)
    write_tars(tmp_path, pictures(1, seed=2), "test", shards=1, in_json=True, nested=True)
    data = load(str(tmp_path), side=8, reading=STREAM)
    assert (len(data.train_labels), data.validation, len(data.test_labels)) == (24, 6, 3)
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize("reading", [MEMORY, STREAM], ids=["memory", "stream"])
def test_an_unreadable_piece_is_named(tmp_path, reading):
    found = list(pictures())
    found[4] = b"no picture", 1
    write_tars(tmp_path, found, shards=1)
    with pytest.raises((InputError, DataError), match=r"some-train-000.tar/x/0004.jpg.*cannot.*--skip-bad"):
        data = load(str(tmp_path), side=8, reading=reading)
        for images in (data.train_images, data.test_images):
            np.asarray(images)


def test_what_cannot_be_read_into_memory_is_left_out_before_splits_are_drawn(tmp_path):
    found = list(pictures(5, classes=2))
    found[4] = b"no picture", 0
    write_tars(tmp_path, found, shards=1)
    with pytest.raises(InputError, match=r"1 of 10 images cannot be read: some-train-000.tar/x/0004.jpg \(cannot"):
        load(str(tmp_path), side=8, reading=MEMORY)
    data = load(str(tmp_path), side=8, reading=replace(MEMORY, skip_bad=True))
    assert data.skipped == ("some-train-000.tar/x/0004.jpg",)
    assert "left out: 1 image that cannot be read: some-train-000.tar/x/0004.jpg" in data.notes
    every = np.concatenate([data.train_images, data.test_images])
    assert len(every) == len(np.unique(every, axis=0)) == len(data.train_labels) + len(data.test_labels) == 9
    write_tars(tmp_path, [(b"no picture", 0)] * 3, shards=1)
    with pytest.raises(InputError, match="none of the training images can be read"):
        load(str(tmp_path), side=8, reading=replace(MEMORY, skip_bad=True))


def refused(root, match):
    with pytest.raises(InputError, match=match):
        load(str(root), side=8)


def test_a_folder_that_cannot_be_looked_into_holds_no_classes(tmp_path, monkeypatch):
    write_tars(tmp_path / "a", pictures())
    (tmp_path / "a" / "lost+found").mkdir()
    look = Path.iterdir

    def iterdir(self):
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(self))
        return look(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert load(str(tmp_path / "a"), side=8).classes == 3


def test_mistakes_in_shards(tmp_path):
    write_tars(tmp_path / "a", pictures(), "test")
    refused(tmp_path / "a", "no training shards.*test")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.tar").write_bytes(b"not an archive" * 100)
    refused(tmp_path / "b", "train.tar: cannot be read as a tar archive")
    with tarfile.open(tmp_path / "b" / "train.tar", "w") as archive:
        add(archive, "1.jpg", b"")
    refused(tmp_path / "b", "train.tar: no label of /1")
    for content, shown in ((b"ant", "ant"), (b"-1", "-1"), (b"1.5", "1.5"), (b"\xff", "xff")):
        with tarfile.open(tmp_path / "b" / "train.tar", "w") as archive:
            add(archive, "1.cls", content)
            add(archive, "1.jpg", b"")
        refused(tmp_path / "b", f"train.tar: 1.cls: no label .found .*{shown}")
    with tarfile.open(tmp_path / "b" / "train.tar", "w") as archive:
        for name, content in (("1.jpg", b""), ("1.cls", b"0"), ("2.jpg", b""), ("2.cls", b"2000000000")):
            add(archive, name, content)
    refused(tmp_path / "b", "only 2 images for such a label .found 2000000000; accepted: .*classes.txt")
    write_tars(tmp_path / "c", pictures())
    (tmp_path / "c" / "classes.txt").write_text("ant\nbee\n")
    refused(tmp_path / "c", "labels out of range")


def test_mistakes_in_records(tmp_path):
    write_records(tmp_path / "a", [])
    refused(tmp_path / "a", "no images")
    module = pytest.importorskip("array_record.python.array_record_module")
    (tmp_path / "b").mkdir()
    for record, match in (
        (example({"image": b"x"}), "a feature is missing"),
        (b"abc", "cannot be read as ArrayRecord"),
    ):
        writer = module.ArrayRecordWriter(str(tmp_path / "b" / "x.array_record"), "group_size:1")
        writer.write(record)
        writer.close()
        refused(tmp_path / "b", match)
    (tmp_path / "b" / "x.array_record").write_bytes(b"no records")
    refused(tmp_path / "b", "x.array_record: cannot be read as ArrayRecord")


def test_a_record_that_was_damaged_later_is_an_unreadable_image(tmp_path):
    """So `--skip-bad` may leave it out, and without it one line names it."""
    from dnas.data.stream.array_record import image_of

    module = pytest.importorskip("array_record.python.array_record_module")
    path = str(tmp_path / "x.array_record")
    writer = module.ArrayRecordWriter(path, "group_size:1")
    writer.write(b"abc")
    writer.close()
    for number in (0, 7):
        with pytest.raises(OSError, match=f"record {number} is damaged"):
            image_of(path, number)
