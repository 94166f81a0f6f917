"""Data sets that Hugging Face's `datasets` itself has saved, read from memory and streamed."""

import io
from pathlib import Path

import numpy as np
import pytest

from dnas.data.batches import Batches
from dnas.data.load import load, scan
from dnas.data.picture import read_picture
from dnas.data.reading import Reading
from dnas.errors import InputError

datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
Image = pytest.importorskip("PIL.Image")
MEMORY, STREAM = Reading(data_in="memory", readers=0), Reading(data_in="stream", readers=0)
NAMES = ["ant", "bee", "cow"]
KINDS = {"picture": datasets.Image(), "id": datasets.Value("int64"), "what": datasets.ClassLabel(names=NAMES)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Of what is made of parquet; and no bars of progress of the tests' own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def encoded(number):
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (20 + number % 5, 25, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, ("JPEG", "PNG")[number % 2])
    return out.getvalue()


def made(numbers, kinds=KINDS, **columns):
    rows = {"picture": [{"bytes": encoded(n), "path": None} for n in numbers], "id": list(numbers)}
    rows |= {"what": [n % 3 for n in numbers]} | columns
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


SPLITS = {"train": range(23), "validation": range(30, 36), "test": range(40, 46)}


def saved(root, **splits):
    parts = {name: made(numbers) for name, numbers in (splits or SPLITS).items()}
    datasets.DatasetDict(parts).save_to_disk(root, max_shard_size="9KB")
    return root


def in_parquet(root):
    (root / "data").mkdir(parents=True)
    for name, numbers in SPLITS.items():
        for shard in range(2):
            own = numbers[: len(numbers) // 2] if shard == 0 else numbers[len(numbers) // 2 :]
            made(own).to_parquet(root / "data" / f"{name}-{shard:05}-of-00002.parquet", batch_size=4)
    return root


@pytest.mark.parametrize("write", [saved, in_parquet])
def test_what_was_saved_is_read_streamed_and_in_memory(tmp_path, write):
    root = write(tmp_path / "set")
    assert scan(str(root)).native_side in range(20, 25) and scan(str(root)).class_names == tuple(NAMES)
    memory, streamed = (load(str(root), side=16, reading=reading) for reading in (MEMORY, STREAM))
    assert streamed.streamed and not memory.streamed and memory.class_names == tuple(NAMES)
    assert (memory.validation, memory.origin.kind) == (6, "arrow")
    assert memory.origin.listing == streamed.origin.listing
    for data in (memory, streamed):
        for split, numbers in SPLITS.items():
            images, labels = data.part(split)
            assert labels.tolist() == [n % 3 for n in numbers]
            expected = [read_picture(io.BytesIO(encoded(n)), 16).pixels for n in numbers]
            np.testing.assert_array_equal(np.asarray(images), expected)
    batches = [Batches(d.train_images, d.train_labels, np.arange(20), 8, seed=1).at(3) for d in (memory, streamed)]
    np.testing.assert_array_equal(batches[0][0], batches[1][0])


def test_a_single_split_is_the_training_images_also_where_rows_were_chosen(tmp_path):
    chosen = made(range(30)).shuffle(seed=0).select(range(3, 24))
    chosen.save_to_disk(tmp_path / "one")
    data = load(str(tmp_path / "one"), side=16, reading=MEMORY)
    whole = np.concatenate([data.train_images, data.test_images])
    expected = {read_picture(io.BytesIO(encoded(n)), 16).pixels.tobytes() for n in chosen["id"]}
    assert {image.tobytes() for image in whole} == expected and len(whole) == 21


def test_images_that_were_files_are_in_what_was_saved(tmp_path):
    files = []
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(encoded(2 * number + 1))
        files.append(str(tmp_path / f"{number}.png"))
    made(range(9), picture=files).save_to_disk(tmp_path / "one")
    for file in files:
        Path(file).unlink()
    data = load(str(tmp_path / "one"), side=16, reading=STREAM)
    assert len(data.train_labels) + len(data.test_labels) == 9
    assert np.asarray(data.train_images).any(axis=(1, 2, 3)).all()


def test_splits_without_labels_and_of_other_names_are_left_out(tmp_path):
    parts = {"train": made(range(12)), "test": made(range(6), what=[-1] * 6), "extra": made(range(3))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    data = load(str(tmp_path / "set"), side=8, reading=MEMORY)
    assert "left out: the test split, which has no labels" in data.notes
    assert "left out: splits of other names: extra" in data.notes
    assert len(data.train_labels) + len(data.test_labels) == 12


def refused(root, match):
    with pytest.raises(InputError, match=match) as caught:
        load(str(root), side=8)
    assert "\n" not in str(caught.value)


def kinds(**changed):
    return {name: kind for name, kind in (KINDS | changed).items() if kind is not None}


def test_columns_are_found_by_their_types_and_there_is_one_of_each(tmp_path):
    made(range(6)).remove_columns("picture").save_to_disk(tmp_path / "a")
    refused(tmp_path / "a", "no column of images .found 'id: Value, what: ClassLabel'; accepted: one .* type Image")
    made(range(6)).cast_column("what", datasets.Value("int64")).save_to_disk(tmp_path / "b")
    refused(tmp_path / "b", "no column of classes .*accepted: one column of the type ClassLabel")
    made(range(6), kinds(coarse=KINDS["what"]), coarse=[0] * 6).save_to_disk(tmp_path / "c")
    refused(tmp_path / "c", "several columns of classes .found 'what, coarse'")
    other = made(range(6)).cast_column("what", datasets.ClassLabel(names=NAMES[::-1]))
    datasets.DatasetDict(train=made(range(6)), test=other).save_to_disk(tmp_path / "d")
    refused(tmp_path / "d", "test: classes differ from those of the training images .found 'cow, bee, ant'")
    other = made(range(6)).rename_column("picture", "image")
    datasets.DatasetDict(train=made(range(6)), test=other).save_to_disk(tmp_path / "e")
    refused(tmp_path / "e", "columns of the splits have different names .found 'image, picture, what'")


def test_mistakes_in_what_was_saved(tmp_path, capsys):
    refused(saved(tmp_path / "a", test=range(6)), "no training split .found 'test'; accepted: train")
    refused(saved(tmp_path / "b", train=range(6), training=range(6)), "several splits are the train split")
    root = saved(tmp_path / "c")
    file = next((root / "train").glob("*.arrow"))
    content = file.read_bytes()
    for damaged in (b"", b"nothing", content[:100], content[: len(content) // 2]):
        file.write_bytes(damaged)
        refused(root, "c.*cannot be read as")
    file.unlink()
    refused(root, "c.*cannot be read as a data set")
    root = saved(tmp_path / "d")
    (root / "train" / "dataset_info.json").write_text("{")
    refused(root, "cannot be read as a data set")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "train.parquet").write_bytes(b"no parquet")
    refused(tmp_path / "e", "cannot be read as a data set")
    assert not capsys.readouterr().err
    made(range(6), picture=[None] * 6).save_to_disk(tmp_path / "f")
    refused(tmp_path / "f", "row 0: no image, only its path or nothing")
