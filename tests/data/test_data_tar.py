"""What tar shards hold besides plain pairs of an image and its label, and what lies beside shards."""

import io
import tarfile

import numpy as np
import pytest

from dnas.data.load import load
from dnas.data.reading import Reading
from dnas.errors import InputError

Image = pytest.importorskip("PIL.Image")
MEMORY = Reading(data_in="memory", readers=0)


def encoded(number):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def entry(name, data=None, link="", kind=tarfile.LNKTYPE):
    """A member of a tar file."""
    member = tarfile.TarInfo(name)
    if data is None:
        member.type, member.linkname = kind, link
        return member, None
    member.size = len(data)
    return member, io.BytesIO(data)


def read_tar(root, *entries):
    root.mkdir(exist_ok=True)
    with tarfile.open(root / "train.tar", "w") as archive:
        for member in entries:
            archive.addfile(*member)
    return load(str(root), side=8, reading=MEMORY)


def pairs(labels=("0", "1") * 3):
    """Members of images and their labels."""
    parts = ((entry(f"{n}.jpg", encoded(n)), entry(f"{n}.cls", label.encode())) for n, label in enumerate(labels))
    return [member for part in parts for member in part]


@pytest.mark.parametrize("content", [b'{"width": 3}', b'{"label": 1}', b"[1, 2]", b"no json"])
@pytest.mark.parametrize("first", [True, False])
def test_beside_a_number_the_object_may_hold_anything(tmp_path, content, first):
    objects = [entry(f"{n}.json", content) for n in range(6)]
    data = read_tar(tmp_path, *objects * first, *pairs(), *objects * (not first), entry("other.json", b"no label"))
    assert sorted([*data.train_labels, *data.test_labels]) == [0, 0, 0, 1, 1, 1]


def test_an_image_whose_key_has_a_dot_is_read_with_a_label_of_its_own_or_told(tmp_path):
    first, second = encoded(7), encoded(8)
    own = [entry("x/7.v2.jpg", first), entry("x/7.v2.cls", b"1")]
    own += [entry("8.v2.png", first), entry("8.v2.json", b'{"label": 0}')]
    masks = entry("0.mask.png", second), entry("x/1.v3.jpg", second)
    hidden = entry("._0.jpg", b"Mac OS X"), entry("._0.cls", b"\x00\x05")
    data = read_tar(tmp_path, *hidden, *pairs(), *own, *masks, entry("2.png", second), entry("x/1.cls", b"0"))
    assert len(data.train_labels) + len(data.test_labels) == 8
    told = [note for note in data.notes if note.startswith("left out")]
    assert told == [
        "left out: 1 image hidden: train.tar/._0.jpg",
        "left out: 1 image of a key that has another one: train.tar/2.png",
        "left out: 2 images with a dot in the key, and no label of that key: "
        "train.tar/0.mask.png, train.tar/x/1.v3.jpg",
        "left out: 1 label without an image: train.tar/x/1.cls",
    ]
    with pytest.raises(
        InputError, match="no images in the training shards .found 'left out: 1 image with a dot in the"
    ):
        read_tar(tmp_path, entry("0.mask.png", second), entry("0.cls", b"0"))


def test_hard_links_are_read_and_other_links_are_told(tmp_path):
    every = pairs()
    linked = [entry("a.jpg", link="0.jpg"), entry("a.cls", link="1.cls")]
    linked += [entry("b.jpg", link="a.jpg"), entry("b.cls", b"0")]
    others = entry("c.jpg", link="nowhere.jpg"), entry("d.jpg", link="0.jpg", kind=tarfile.SYMTYPE)
    data = read_tar(tmp_path, *every, *linked, *others, entry("c.cls", b"0"))
    found = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    alike, counts = np.unique(found, axis=0, return_counts=True)
    assert len(found) == 8 and counts.max() == 3  # a and b are 0
    of_first = (found == alike[counts.argmax()]).all(axis=(1, 2, 3))
    assert sorted(labels[of_first]) == [0, 0, 1]
    told = "left out: 2 images linked to what is no earlier file of the archive: train.tar/c.jpg, train.tar/d.jpg"
    assert told in data.notes


def test_hidden_shards_are_none(tmp_path):
    for name in ("._train.tar", "._x.parquet"):
        (tmp_path / name).write_bytes(b"Mac OS X")
    (tmp_path / ".train").mkdir()
    (tmp_path / ".train" / "x.tar").write_bytes(b"no archive")
    assert len(read_tar(tmp_path, *pairs()).class_names) == 2
    (tmp_path / "train.tar").unlink()
    with pytest.raises(InputError, match="no class folders with images"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", ["photos.tar", "labels.parquet", "x.array_record", "x.tfrecord"])
@pytest.mark.parametrize("split", ["", "train"])
def test_class_folders_come_before_shards_beside_them(tmp_path, name, split):
    root = tmp_path / split
    for number in range(6):
        file = root / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(number))
    for folder in {root, tmp_path}:
        (folder / name).write_bytes(b"of something else")
        data = load(str(tmp_path), side=8)
        assert data.class_names == ("a", "b") and data.origin.kind == "folder"
        assert any(note.startswith("left out: ") and note.endswith(str((folder / name).relative_to(tmp_path)))
                   for note in data.notes)  # fmt: skip
        (folder / name).unlink()


def test_pictures_beside_shards_are_no_classes(tmp_path):
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "0.png").write_bytes(encoded(0))
    assert read_tar(tmp_path, *pairs()).origin.kind == "tar"
