"""Image folders: layouts, decoding, unreadable images, and the missing extra."""

import sys

import numpy as np
import pytest

from dnas.data import folder as folder_module
from dnas.data.load import load
from dnas.errors import MissingExtra, UserError

Image = pytest.importorskip("PIL.Image")


def paint(path, colour=(200, 30, 90), size=(12, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def tree(root, splits=("train", "test"), classes=("ant", "bee"), count=5):
    for split in splits:
        for k, name in enumerate(classes):
            for i in range(count):
                paint(root / split / name / f"{i}.png", (50 * k, 10 * i, 0))
    return root


def refused(spec, *words, **options):
    with pytest.raises(UserError) as caught:
        load(str(spec), **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_train_and_test(tmp_path):
    data = load(str(tree(tmp_path)), resolution=7)
    assert data.train_images.shape == (10, 7, 7, 3) and data.class_names == ("ant", "bee")
    assert data.train_images[7].reshape(-1, 3).tolist() == [[50, 20, 0]] * 49
    assert list(data.test_labels) == [0] * 5 + [1] * 5
    assert load(str(tmp_path)).side == 64


def test_validation_folder_and_both(tmp_path):
    assert "val serves as test" in load(str(tree(tmp_path / "a", ("train", "val"))), resolution=4).notes[0]
    assert "left alone" in load(str(tree(tmp_path / "b", ("train", "val", "test"))), resolution=4).notes[0]


def test_class_folders_alone_hold_out_a_test_split(tmp_path):
    data = load(str(tree(tmp_path, ("",))), resolution=4)
    assert (len(data.train_labels), len(data.test_labels)) == (8, 2) and "held out" in data.notes[0]


def test_other_files_and_hidden_ones_are_passed_over(tmp_path):
    tree(tmp_path)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("x")
    (tmp_path / "train" / "ant" / ".hidden.png").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    assert len(load(str(tmp_path), resolution=4).train_labels) == 10


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (33, 21)])
@pytest.mark.parametrize("suffix", ["png", "JPG"])
def test_centre_square_is_kept(tmp_path, size, suffix):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    short = min(size)
    top, left = (size[1] - short) // 2, (size[0] - short) // 2
    pixels[top : top + short, left : left + short] = 255
    for name in ("a", "b"):
        for i in range(2):
            path = tmp_path / name / f"{i}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(
                path, "PNG" if suffix == "png" else "JPEG", **({} if suffix == "png" else {"quality": 100})
            )
    images = load(str(tmp_path), resolution=8).train_images
    assert images[:, 1:-1, 1:-1].min() > 240


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_modes_become_rgb(tmp_path, mode):
    for name in ("a", "b"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.tif", (255, 255, 255), mode=mode)
    assert load(str(tmp_path), resolution=4).train_images.min() == 255


def test_unreadable_images_are_named_and_counted(tmp_path):
    tree(tmp_path)
    whole = (tmp_path / "train" / "ant" / "0.png").read_bytes()
    (tmp_path / "train" / "ant" / "0.png").write_bytes(whole[:40])
    (tmp_path / "train" / "bee" / "1.png").write_bytes(b"")
    (tmp_path / "test" / "bee" / "9.png").symlink_to(tmp_path / "nowhere")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "test" / "bee" / "deep.png")
    refused(tmp_path, "4 of 22 images cannot be read", "train/ant/0.png", "train/bee/1.png", "...", resolution=4)
    data = load(str(tmp_path), resolution=4, skip_bad=True)
    assert data.skipped == ("train/ant/0.png", "train/bee/1.png", "test/bee/9.png", "test/bee/deep.png")
    assert list(np.bincount(data.train_labels)) == [4, 4] and len(data.test_labels) == 10
    assert data.train_images[0].reshape(-1, 3).tolist()[0] == [0, 10, 0]  # the rows still belong to their files


def test_a_class_all_of_whose_images_are_bad(tmp_path):
    tree(tmp_path, count=2)
    for path in (tmp_path / "train" / "bee").iterdir():
        path.write_bytes(b"x")
    refused(tmp_path, "class 'bee' has no training image", skip_bad=True)
    for path in (tmp_path / "train" / "ant").iterdir():
        path.write_bytes(b"x")
    refused(tmp_path, "none of the training images", skip_bad=True)


def test_layout_mistakes(tmp_path, monkeypatch):
    (tree(tmp_path / "a") / "train" / "cat").mkdir()
    refused(tmp_path / "a", "an empty class", "cat")
    paint(tree(tmp_path / "b") / "test" / "cat" / "0.png")
    refused(tmp_path / "b", "classes that train does not have", "cat")
    refused(tree(tmp_path / "c", ("test", "val")), "no train folder")
    refused(tree(tmp_path / "d", classes=("ant",)), "only one class")
    paint(tmp_path / "e" / "0.png")
    refused(tmp_path / "e", "no class folders")
    refused(tree(tmp_path / "f"), "resolution", "0", resolution=0)
    monkeypatch.setattr(folder_module, "MAX_BYTES", 1000)
    refused(tmp_path / "f", "20 images at side 64", "GiB")
    monkeypatch.setattr(folder_module, "MAX_PIXELS", 10)
    refused(tmp_path / "f", "too many", resolution=2)


def test_missing_pillow_names_the_extra(tmp_path, monkeypatch):
    tree(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"^pillow is missing; install dnas\[data\]$"):
        load(str(tmp_path))
