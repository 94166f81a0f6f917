"""Embedded data, `.npz` archives, the dispatch of `load`, and every message they can give."""

import importlib.util
import io
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnas.data.build import build
from dnas.data.load import EMBEDDED, EMBEDDED_FILE, load
from dnas.errors import UserError

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def arrays(n=40, classes=4, side=6, channels=(), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, side, side, *channels), dtype=np.uint8)
    return images, np.arange(n) % classes


def save(path, **members):
    np.savez(path, **members)
    return str(path)


def refused(spec, *words, **options):
    with pytest.raises(UserError) as caught:
        load(str(spec), **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    for word in words:
        assert word in message
    return message


def test_embedded_is_the_published_extract():
    data = load()
    assert data.fingerprint == "d9a934b8ea6543c8b3ff5fe61c795f7d65de050a85e166e3cfcd8bf44d34a289"
    assert data.name == EMBEDDED and load(EMBEDDED).fingerprint == data.fingerprint
    assert (data.classes, data.channels, data.side) == (10, 1, 28)
    assert data.train_images.shape == (4000, 28, 28, 1) and data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == np.int32
    assert set(np.bincount(data.train_labels)) == {400} and set(np.bincount(data.test_labels)) == {100}
    assert data.class_names[9] == "Ankle boot" and not data.notes and not data.skipped
    assert EMBEDDED_FILE.stat().st_size < 4 * 2**20
    assert "MIT License" in EMBEDDED_FILE.with_name("LICENSE-fashion-mnist.txt").read_text()


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError):
        load().train_images[0, 0, 0, 0] = 1


def extract_script():
    spec = importlib.util.spec_from_file_location("make_extract", ROOT / "experiments" / "make_fashion_extract.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extract_script_writes_the_embedded_bytes(tmp_path):
    with np.load(EMBEDDED_FILE) as archive:
        members = {name: archive[name] for name in archive.files}
    assert extract_script().write(members, tmp_path / "again.npz") == EMBEDDED_FILE.read_bytes()
    assert (tmp_path / "again.npz").read_bytes() == EMBEDDED_FILE.read_bytes()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_extract_script_remakes_the_embedded_bytes(tmp_path):
    script = extract_script()
    assert script.write(script.extract(DEBIAN), tmp_path / "again.npz") == EMBEDDED_FILE.read_bytes()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_npz_with_both_splits(tmp_path, names, channels):
    (x, y), (xt, yt) = arrays(channels=channels), arrays(12, channels=channels, seed=1)
    data = load(save(tmp_path / "d.npz", **dict(zip(names, (x, y, xt, yt), strict=True))))
    assert data.name == "d.npz" and data.classes == 4 and data.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(data.train_images.reshape(x.shape), x)
    np.testing.assert_array_equal(data.test_labels, yt)


def test_float_images_and_column_labels(tmp_path):
    x, y = arrays()
    as_float = load(save(tmp_path / "f.npz", x_train=x / 255, y_train=y[:, None], x_test=x / 255, y_test=y))
    as_bytes = load(save(tmp_path / "b.npz", x_train=x, y_train=y, x_test=x, y_test=y))
    assert as_float.fingerprint == as_bytes.fingerprint


def test_without_test_split_a_fifth_is_held_out(tmp_path):
    x, y = arrays(100)
    path = save(tmp_path / "d.npz", images=x, labels=y, class_names=np.array(list("abcd")))
    one, again, other = load(path, seed=1), load(path, seed=1), load(path, seed=2)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert list(np.bincount(one.test_labels)) == [5] * 4 and len(one.train_labels) == 80
    rows = {image.tobytes() for image in np.concatenate([one.train_images, one.test_images])}
    assert rows == {image.tobytes() for image in x}
    assert one.class_names == tuple("abcd") and "20 of 100" in one.notes[0]


def test_validation_arrays_serve_where_test_is_missing(tmp_path):
    x, y = arrays()
    data = load(save(tmp_path / "d.npz", train_images=x, train_labels=y, val_images=x[:8], val_labels=y[:8]))
    assert len(data.test_labels) == 8 and "validation" in data.notes[0]


@pytest.mark.parametrize("form", ["x_{}", "{}_images", "X-{}", "Images.{}", "{}X", "data_{}"])
@pytest.mark.parametrize(
    "splits", [("train", "test", "val"), ("Training", "TESTING", "Valid"), ("train", "eval", "dev")]
)
def test_validation_arrays_are_used_and_names_are_known_in_any_case(tmp_path, form, splits):
    x, y = arrays()
    members = {}
    for split, count in zip(splits, (40, 12, 8), strict=True):
        members[form.format(split)] = x[:count]
        labels = form.replace("x", "y").replace("X", "Y").replace("mages", "_").replace("data", "labels")
        members[labels.format(split).replace("i_", "labels").replace("I_", "Labels")] = y[:count]
    data = load(save(tmp_path / "d.npz", **members))
    assert (len(data.train_labels), len(data.test_labels), data.validation) == (48, 12, 8)
    np.testing.assert_array_equal(data.part("validation")[0][..., 0], x[:8])
    assert "the 8 validation images choose" in data.notes[0] and len(data.notes) == 1
    bare = {name: value for name, value in members.items() if len(value) != 8}
    assert load(save(tmp_path / "e.npz", **bare)).fingerprint != data.fingerprint


def test_arrays_that_are_not_read_are_named(tmp_path):
    x, y = arrays()
    members = dict(
        images=x, labels=y, class_names=np.array(list("abcd")), bounding_boxes=y, extra_images=x, x_train_2=x
    )
    data = load(save(tmp_path / "d.npz", **members, **{"data": x}))
    assert "left out: 4 arrays of other names: bounding_boxes, data, extra_images, ..." in data.notes
    assert data.origin.kind == "npz" and data.origin.path == tmp_path / "d.npz" and len(data.origin.sha256) == 64


def test_images_of_one_colour_are_told(tmp_path):
    x, y = arrays()
    x[3], x[17] = 0, 200
    data = load(save(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8]))
    assert "3 of 48 images are of one colour all over, the first train image 3" in data.notes


def test_test_split_may_lack_a_class_with_a_note(tmp_path):
    x, y = arrays()
    data = load(save(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3]))
    assert data.classes == 4 and "no image of 1 classes" in data.notes[0]


X, Y = arrays()
NAN = np.full(X.shape, np.nan, np.float32)
BAD = {
    "shape": (dict(images=X[:, 0], labels=Y), ["wrong shape", "(40, 6)"]),
    "not square": (dict(images=X[:, :5], labels=Y), ["not square", "(40, 5, 6)"]),
    "channels first": (dict(images=np.zeros((40, 3, 6, 6), np.uint8), labels=Y), ["not square", "channels last"]),
    "many channels": (dict(images=np.zeros((40, 2, 2, 17), np.uint8), labels=Y), ["channels", "17"]),
    "no pixels": (dict(images=X[:, :0, :0], labels=Y), ["wrong shape"]),
    "no images": (dict(images=X[:0], labels=Y[:0]), ["no images"]),
    "int images": (dict(images=X.astype(np.int64), labels=Y), ["wrong type", "int64", "uint8"]),
    "bool images": (dict(images=X > 9, labels=Y), ["wrong type", "bool"]),
    "NaN": (dict(images=NAN, labels=Y), ["NaN"]),
    "float range": (dict(images=X.astype(np.float32), labels=Y), ["out of range", "255"]),
    "counts": (dict(images=X, labels=Y[:-1]), ["40 images but 39 labels"]),
    "float labels": (dict(images=X, labels=Y / 1), ["not integers", "float64"]),
    "text labels": (dict(images=X, labels=Y.astype(str)), ["not integers"]),
    "one-hot": (dict(images=X, labels=np.eye(4, dtype=int)[Y]), ["wrong shape", "(40, 4)"]),
    "negative": (dict(images=X, labels=Y - 1), ["out of range", "-1"]),
    "huge label": (dict(images=X, labels=np.where(Y == 3, 2**40, Y)), ["out of range"]),
    "large label": (dict(images=X, labels=np.where(Y == 3, 2**30, Y)), ["classes"]),
    "gap": (dict(images=X, labels=np.where(Y == 2, 1, Y)), ["class '2' has no training image"]),
    "one class": (dict(images=X, labels=Y * 0), ["only one class"]),
    "too few": (dict(images=X[:4], labels=Y[:4]), ["too few"]),
    "few names": (dict(images=X, labels=Y, class_names=np.array(["a", "b"])), ["out of range", "0 to 1"]),
    "more names": (dict(images=X, labels=Y, class_names=np.array(list("abcde"))), ["class 'e' has no"]),
    "same names": (dict(images=X, labels=Y, class_names=np.array(list("abca"))), ["same name"]),
    "number names": (dict(images=X, labels=Y, class_names=np.arange(4)), ["class_names"]),
    "test side": (dict(x_train=X, y_train=Y, x_test=X[:, :3, :3], y_test=Y), ["differ in shape"]),
    "test channels": (dict(x_train=X, y_train=Y, x_test=np.stack([X] * 3, 3), y_test=Y), ["differ in shape"]),
    "test class": (dict(x_train=X, y_train=Y, x_test=X, y_test=Y + 1), ["no training image has", "4"]),
    "no test labels": (dict(x_train=X, y_train=Y, x_test=X), ["'x_test' has no partner"]),
    "no labels": (dict(x_train=X), ["'x_train' has no partner"]),
    "names": (dict(pictures=X, labels=Y), ["no known array names", "pictures", "x_train"]),
    "pickle": (dict(images=X, labels=np.array([None] * 40)), ["pickled", "'labels'"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_in_one_line(tmp_path, case):
    members, words = BAD[case]
    message = refused(save(tmp_path / "d.npz", **members), *words)
    assert "d.npz" in message


def test_pickles_in_members_that_are_not_needed_are_never_touched(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "d.npz"
    save(path, images=X, labels=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("meta.npy", pickle.dumps(Bomb()))
    assert load(str(path)).classes == 4


def test_header_larger_than_its_member_is_refused_before_memory_is_taken(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4)}
    )
    path = tmp_path / "d.npz"
    save(path, labels=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", member.getvalue() + bytes(100))
    refused(path, "'images' is shorter")


def test_what_is_not_an_archive(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"hello")
    refused(tmp_path / "d.npz", "not an .npz archive")
    (tmp_path / "d.csv").write_text("1,2")
    refused(tmp_path / "d.csv", ".csv", ".npz")
    refused(tmp_path / "missing.npz", "no such file", "missing.npz")
    refused("fashion-mnist5k", "did you mean 'fashion-mnist-5k'?")
    refused("", "no such file")
    refused("n" * 300, "data: cannot be read: File name too long", "nnn")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no class folders")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_archives_give_one_line_or_load(tmp_path_factory, data):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=X, labels=Y)
    content = bytearray(buffer.getvalue())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "d.npz"
    path.write_bytes(content)
    try:
        load(str(path))
    except UserError as error:
        assert "\n" not in str(error)


def test_fingerprint_sees_every_part():
    x, y = X[..., None], Y.astype(np.int32)
    base = build("w", "n", (x, y), (x, y)).fingerprint
    assert build("other", "other", (x.copy(), y), (x, y)).fingerprint == base
    changed = x.copy()
    changed[3, 2, 1] += 1
    assert build("w", "n", (changed, y), (x, y)).fingerprint != base
    assert build("w", "n", (x, y), (changed, y)).fingerprint != base
    assert build("w", "n", (x, y), (x, y[::-1])).fingerprint != base
    assert build("w", "n", (x, y), (x, y), class_names=list("abcd")).fingerprint != base


def test_what_datasets_saved_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "dataset_dict.json").write_text("{}")
    refused(tmp_path, "datasets is missing; install dnas[hf]")
