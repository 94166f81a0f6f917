"""Image folders: layouts, decoding, unreadable images, and the missing extra."""

import os
import sys

import numpy as np
import pytest

from dnas.data import picture as picture_module
from dnas.data import reading as reading_module
from dnas.data.load import load, scan
from dnas.data.reading import Reading
from dnas.data.splits import search_split
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
    data = load(str(tree(tmp_path)), side=7)
    assert data.train_images.shape == (10, 7, 7, 3) and data.class_names == ("ant", "bee")
    assert data.train_images[7].reshape(-1, 3).tolist() == [[50, 20, 0]] * 49
    assert list(data.test_labels) == [0] * 5 + [1] * 5
    assert load(str(tmp_path)).side == 64


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_with_a_pictures_name_is_no_picture(tmp_path):
    """A reader would wait on it for ever."""
    tree(tmp_path / "photos")
    os.mkfifo(tmp_path / "photos" / "train" / "ant" / "pipe.png")
    refused(tmp_path / "photos", "1 of 21 images cannot be read", "pipe.png", "not a file")
    assert load(str(tmp_path / "photos"), side=4, reading=Reading(skip_bad=True)).skipped == ("train/ant/pipe.png",)
    assert picture_module.read_size(tmp_path / "photos" / "train" / "ant" / "pipe.png") is None
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "neither a file nor a folder")


def test_without_a_test_folder_validation_serves(tmp_path):
    data = load(str(tree(tmp_path, ("train", "val"))), side=4)
    assert "the validation split serves as test" in " ".join(data.notes)
    assert (len(data.train_labels), len(data.test_labels), data.validation) == (10, 10, 0)
    assert data.given_split() is None


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test", "val"), ("Train", "TEST", "Valid"), ("training", "testing", "validation"),
        ("TRAINING_SET", "test-set", "Dev"), ("Training", "eval", "VALIDATION"),
    ],
)  # fmt: skip
def test_splits_are_known_by_their_usual_names_and_validation_is_used(tmp_path, names):
    for split, (name, count) in enumerate(zip(names, (4, 3, 2), strict=True)):
        for k, label in enumerate(("ant", "bee")):
            for i in range(count):
                paint(tmp_path / name / label / f"{i}.png", (50 * k, 10 * i, 60 * split))
    data = load(str(tmp_path), side=4)
    assert (len(data.train_labels), len(data.test_labels), data.validation) == (12, 6, 4)
    assert data.part("train")[0][..., 2].max() == 0 and len(data.part("train")[1]) == 8
    assert set(data.part("validation")[0][..., 2].ravel()) == {120} and list(data.part("validation")[1]) == [0, 0, 1, 1]
    assert set(data.test_images[..., 2].ravel()) == {60}
    split = search_split(data, seed=0)
    assert split.theta_index.tolist() == [8, 9, 10, 11] and split.weights_index.tolist() == list(range(8))
    assert "the 4 validation images choose" in " ".join(data.notes)


def test_two_folders_for_one_split_are_refused(tmp_path):
    refused(tree(tmp_path, ("train", "val", "Validation")), "two folders for validation", "Validation and val")


def test_a_class_may_be_called_like_a_split(tmp_path):
    data = load(str(tree(tmp_path, ("",), ("bus", "test", "train"))), side=4)
    assert data.class_names == ("bus", "test", "train") and data.validation == 0


def test_class_folders_alone_hold_out_a_test_split(tmp_path):
    data = load(str(tree(tmp_path, ("",))), side=4)
    assert (len(data.train_labels), len(data.test_labels)) == (8, 2) and "held out" in data.notes[-1]


def test_what_is_left_out_is_counted_and_named(tmp_path):
    tree(tmp_path, count=2)
    for name in ("train/ant/notes.txt", "train/ant/b.heic", "test/labels.csv", "README"):
        (tmp_path / name).write_text("x")
    for name in ("train/ant/.hidden.png", ".DS_Store"):
        (tmp_path / name).write_text("x")
    paint(tmp_path / "train" / "bee" / "more" / "0.png")
    paint(tmp_path / "train" / "0.png")
    paint(tmp_path / "1.png")
    paint(tmp_path / "unlabelled" / "2.png")
    (tmp_path / "train" / "cat").mkdir()
    data = load(str(tmp_path), side=4)
    assert len(data.train_labels) == 4 and data.class_names == ("ant", "bee")
    told = [note.removeprefix("left out: ") for note in data.notes if note.startswith("left out: ")]
    assert told == [
        "4 files that are no images by their names: README, train/ant/b.heic, train/ant/notes.txt, ...",
        "2 hidden files and folders: .DS_Store, train/ant/.hidden.png",
        "2 images outside a class folder: 1.png, train/0.png",
        "1 folder within a class with 1 image: train/bee/more",
        "1 folder beside the splits with 1 image: unlabelled",
        "1 class folder without images: train/cat",
    ]


def test_a_test_folder_without_classes_is_left_out(tmp_path):
    tree(tmp_path, ("train",))
    paint(tmp_path / "test" / "0.png")
    data = load(str(tmp_path), side=4)
    assert "1 image outside a class folder: test/0.png" in " ".join(data.notes) and len(data.test_labels) == 2


def test_what_is_done_to_images_is_told(tmp_path):
    tree(tmp_path, count=3)
    rng = np.random.default_rng(0)

    def picture(size, mode="RGB"):
        channels = {"RGB": 3, "RGBA": 4}[mode]
        return Image.fromarray(rng.integers(0, 255, (size[1], size[0], channels), dtype=np.uint8))

    for n in range(3):
        picture((20, 20)).save(tmp_path / "train" / "ant" / f"{n}.png")
        picture((20, 15)).save(tmp_path / "train" / "bee" / f"{n}.png")
        picture((9, 9), "RGBA").save(tmp_path / "test" / "bee" / f"{n}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture((20, 10)).save(tmp_path / "train" / "ant" / "turned.jpg", exif=exif)
    frames = [picture((8, 8)) for _ in range(2)]
    frames[0].save(tmp_path / "train" / "ant" / "moving.gif", save_all=True, append_images=frames[1:])
    told = load(str(tmp_path), side=8).notes
    assert told[0] == "images are decoded at 8 px; their short side is 15 px in the median"
    # three of 20 x 15, one of 20 x 10, three of 12 x 8
    assert "7 of 14 images are not square: the central square is used, on average 32 % of their area is cut" in told
    assert "1 image is turned as the EXIF orientation says" in told
    assert "3 images are transparent in places: laid over white" in told
    assert "1 image is the first of several frames or pages in a file" in told
    assert "3 of 14 images are of one colour all over, the first test/ant/0.png" in told


def test_shapes_in_the_alpha_channel_are_seen(tmp_path):
    for label, low in (("a", 2), ("b", 9)):
        for n in range(2):
            pixels = np.zeros((16, 16, 4), np.uint8)
            pixels[low : low + 4, 4:12, 3] = 255
            path = tmp_path / label / f"{n}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    data = load(str(tmp_path), side=16)
    assert data.train_images.min() == 0 and data.train_images.max() == 255
    assert not (data.train_images[0] == data.train_images[1]).all()


def test_names_that_are_not_utf8(tmp_path):
    for name in (b"caf\xe9", b"plain"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        for i in range(3):
            Image.new("RGB", (6, 6), (i, 9, 9)).save(os.fsdecode(folder + b"/%d\xe9.png" % i))
        (tmp_path / os.fsdecode(name) / "bad\udce9.png").write_bytes(b"x")
    refused(tmp_path, "caf\\xe9/bad\\xe9.png", side=4)
    data = load(str(tmp_path), side=4, reading=Reading(skip_bad=True))
    assert data.class_names == ("caf\\xe9", "plain") and data.skipped[0] == "caf\\xe9/bad\\xe9.png"
    for text in (*data.class_names, *data.notes, *data.skipped, data.name):
        text.encode()


def test_the_fingerprint_of_the_files_is_of_names_and_contents_alone(tmp_path):
    root = tree(tmp_path / "a")
    first = load(str(root), side=4)
    assert load(str(root), side=8, channels=1).origin == first.origin != load(str(root), side=4).fingerprint
    assert first.origin.kind == "folder" and first.origin.path == root
    moved = root.rename(tmp_path / "b")
    (moved / "train" / "ant" / "notes.txt").write_text("x")
    assert load(str(moved), side=4).origin.sha256 == first.origin.sha256
    paint(moved / "train" / "ant" / "0.png", (1, 2, 3))
    changed = load(str(moved), side=4).origin.sha256
    (moved / "train" / "ant" / "0.png").rename(moved / "train" / "ant" / "00.png")
    assert len({first.origin.sha256, changed, load(str(moved), side=4).origin.sha256}) == 3


def test_side_and_channels_are_those_asked_for(tmp_path):
    source = scan(str(tree(tmp_path)))
    assert not source.fixed and source.native_side == 8 and source.class_names == ("ant", "bee")
    told = []
    data = source.load(11, 1, "as asked", lambda done, total: told.append((done, total)))
    assert data.train_images.shape == (10, 11, 11, 1) and told[-1] == (20, 20) and len(told) == 20
    assert data.notes[0].startswith("images are decoded at 11 px in grey (as asked)")


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
    images = load(str(tmp_path), side=8).train_images
    assert images[:, 1:-1, 1:-1].min() > 240


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_modes_become_rgb(tmp_path, mode):
    for name in ("a", "b"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.tif", (255, 255, 255), mode=mode)
    assert load(str(tmp_path), side=4).train_images.min() == 255


def test_unreadable_images_are_named_and_counted(tmp_path):
    tree(tmp_path)
    whole = (tmp_path / "train" / "ant" / "0.png").read_bytes()
    (tmp_path / "train" / "ant" / "0.png").write_bytes(whole[:40])
    (tmp_path / "train" / "bee" / "1.png").write_bytes(b"")
    (tmp_path / "test" / "bee" / "9.png").symlink_to(tmp_path / "nowhere")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "test" / "bee" / "deep.png")
    refused(tmp_path, "4 of 22 images cannot be read", "train/ant/0.png", "train/bee/1.png", "...", side=4)
    data = load(str(tmp_path), side=4, reading=Reading(skip_bad=True))
    assert data.skipped == ("train/ant/0.png", "train/bee/1.png", "test/bee/9.png", "test/bee/deep.png")
    assert list(np.bincount(data.train_labels)) == [4, 4] and len(data.test_labels) == 10
    assert data.train_images[0].reshape(-1, 3).tolist()[0] == [0, 10, 0]  # the rows still belong to their files


def test_a_class_all_of_whose_images_are_bad(tmp_path):
    tree(tmp_path, count=2)
    for path in (tmp_path / "train" / "bee").iterdir():
        path.write_bytes(b"x")
    refused(tmp_path, "class 'bee' has no training image", reading=Reading(skip_bad=True))
    for path in (tmp_path / "train" / "ant").iterdir():
        path.write_bytes(b"x")
    refused(tmp_path, "none of the training images", reading=Reading(skip_bad=True))


def test_layout_mistakes(tmp_path, monkeypatch):
    (tree(tmp_path / "a") / "train" / "cat").mkdir()
    (tmp_path / "a" / "train" / "cat" / "0.heic").write_text("x")
    refused(tmp_path / "a", "an empty class: files, but no images", "cat")
    paint(tmp_path / "g" / "flowers" / "train" / "rose" / "0.png")
    refused(tmp_path / "g", "flowers: an empty class: its images lie in folders within it")
    paint(tree(tmp_path / "b") / "test" / "cat" / "0.png")
    refused(tmp_path / "b", "classes that train does not have", "cat")
    refused(tree(tmp_path / "c", ("test", "val")), "no train folder")
    refused(tree(tmp_path / "d", classes=("ant",)), "only one class")
    paint(tmp_path / "e" / "0.png")
    refused(tmp_path / "e", "no class folders")
    refused(tree(tmp_path / "f"), "image size", "0", side=0)
    with monkeypatch.context() as patch:
        patch.setattr(reading_module, "MAX_BYTES", 1000)
        refused(tmp_path / "f", "the images take 246 kB", "--data-in stream", reading=Reading(data_in="memory"))
        assert load(str(tmp_path / "f")).streamed
    monkeypatch.setattr(picture_module, "MAX_PIXELS", 10)
    refused(tmp_path / "f", "too many", side=2)


def test_missing_pillow_names_the_extra(tmp_path, monkeypatch):
    tree(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"^pillow is missing; install dnas\[data\]$"):
        load(str(tmp_path))
