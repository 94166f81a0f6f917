"""A run's data are found again: the record, its path in every form, and what is refused or told."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dnas.data.folder import FolderSource
from dnas.data.load import load, scan
from dnas.errors import InputError
from dnas.runs.recall import data_record, path_of, path_text, source_for
from dnas.runs.result import read_result

NETWORK = {
    "name": "small", "input": {"channels": 3, "classes": 2, "resolution": 6},
    "trunk": [{"conv": {"kernel": 3, "out": 4, "act": "relu"}}],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip


def images(root: Path, classes=("ant", "bee"), count=4, side=9) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(len(classes))
    for name in classes:
        (root / name).mkdir(parents=True)
        for n in range(count):
            pillow.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(root / name / f"{n}.png")
    return root


def files_of(folder: Path, native: int) -> FolderSource:
    source = scan(str(images(folder / "files", count=2, side=native)))
    assert isinstance(source, FolderSource)
    return source


def result_of(file: Path, spec: str | None, **changes):
    """A result whose record is what a search writes of these data."""
    data = load(spec, side=6, seed=3)
    size = NETWORK["input"] | {"classes": data.classes}
    record = {"data": data_record(data, 3) | changes}
    document = NETWORK | {"input": size, "labels": list(data.class_names), "search": record}
    file.write_text(json.dumps(document))
    return read_result(file)


def refused(*arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        source_for(*arguments, seed=3, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_record_says_where_the_data_are_and_what_they_are(tmp_path, monkeypatch):
    images(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    record = result_of(tmp_path / "a.json", "pictures").data
    assert record["path"] == str(tmp_path / "pictures") and record["kind"] == "folder" and record["side"] == 6
    assert record["classes"] == 2 and record["images"] == {"train": 6, "validation": 0, "test": 2}
    assert record["seed"] == 3 and len(record["sha256"]) == len(record["files_sha256"]) == 64
    embedded = data_record(load(), 0)
    assert "path" not in embedded and embedded["kind"] == "embedded"


@pytest.mark.parametrize("name", ["plain", "with space", "per%20cent", "ümlaut", "caf\udce9", "line\nbreak", "#?"])
def test_every_path_is_written_as_text_and_read_back(tmp_path, name):
    text = path_text(tmp_path / name)
    text.encode()
    assert text.isprintable() and path_of(text) == tmp_path / name
    assert text.startswith("file://") == (name in ("caf\udce9", "line\nbreak"))
    root = images(tmp_path / name)
    result = result_of(tmp_path / "a.json", os.fspath(root))
    assert len(source_for(result, None, seed=3).load(6).train_labels) == 6


def test_the_data_of_the_run_are_used_where_none_are_given_and_this_is_said(tmp_path):
    root = images(tmp_path / "pictures")
    result = result_of(tmp_path / "a.json", str(root))
    for side in (6, 9):
        data = source_for(result, None, seed=3).load(side)
        assert data.notes[0] == f"the data of this run: {root}" and "change" not in " ".join(data.notes)
    assert "run" not in " ".join(source_for(result, str(root), seed=3).load(6).notes)


def test_data_that_are_gone_or_not_recorded_are_one_line(tmp_path):
    root = images(tmp_path / "pictures")
    result = result_of(tmp_path / "a.json", str(root))
    root.rename(tmp_path / "moved")
    assert f"the data of this run ({root}) are gone; give --data" in refused(result, None)
    assert "run" not in " ".join(source_for(result, str(tmp_path / "moved"), seed=3).load(6).notes)
    document = json.loads((tmp_path / "a.json").read_text())
    for key in ("path", "kind"):
        del document["search"]["data"][key]
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert "(pictures) lie is not recorded; give --data" in refused(read_result(tmp_path / "a.json"), None)


def test_data_that_have_changed_are_told(tmp_path):
    root = images(tmp_path / "pictures")
    result = result_of(tmp_path / "a.json", str(root))
    (root / "ant" / "0.png").rename(root / "ant" / "9.png")
    (root / "bee" / "5.png").write_bytes((root / "bee" / "0.png").read_bytes())
    assert "the data have changed since the run: 8 images then, 9 now" in source_for(result, None, seed=3).load(6).notes
    notes = source_for(result, str(images(tmp_path / "other", count=5)), seed=3).load(6).notes
    assert "other images than those of the run (pictures)" in notes


def test_other_classes_are_refused_unless_they_are_meant(tmp_path):
    result = result_of(tmp_path / "a.json", str(images(tmp_path / "pictures")))
    more = str(images(tmp_path / "more", ("ant", "bee", "cat")))
    said = refused(result, more)
    assert "3 (ant, bee, cat) instead of 2 (ant, bee)" in said and "--new-classes" in said and "a.json" in said
    assert "other classes than the run's" in source_for(result, more, seed=3, new_classes=True).load(6).notes[0]
    assert "--new-classes first" in refused(result, more, new_classes=True, keeps_classifier=True)
    renamed = str(images(tmp_path / "renamed", ("ant", "wasp")))
    assert "1 name of 2, the first 'wasp' for 'bee'" in refused(result, renamed, keeps_classifier=True)
    source_for(result, renamed, seed=3, new_classes=True, keeps_classifier=True)


def test_the_same_names_in_another_order_are_other_classes(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {"images": generator.integers(0, 256, (8, 6, 6, 3), np.uint8), "labels": np.arange(8) % 2}
    np.savez(tmp_path / "a.npz", **arrays, class_names=np.array(["x", "y"]))
    np.savez(tmp_path / "b.npz", **arrays, class_names=np.array(["y", "x"]))
    result = result_of(tmp_path / "a.json", str(tmp_path / "a.npz"))
    assert "another order" in refused(result, str(tmp_path / "b.npz"))


def test_an_architecture_of_no_run_takes_the_embedded_data_and_says_so(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(NETWORK))
    data = source_for(read_result(tmp_path / "a.json"), None, seed=0).load()
    assert data.name == "fashion-mnist-5k" and "no --data given" in data.notes[0]
    assert not source_for(result_of(tmp_path / "b.json", None), None, seed=0).load().notes
    (tmp_path / "c.json").write_text(json.dumps(NETWORK | {"search": {"seed": 1}}))
    assert "the data of this run lie is not recorded" in refused(read_result(tmp_path / "c.json"), None)


def test_a_damaged_record_is_named(tmp_path):
    with pytest.raises(InputError, match=r"search\.data\.path: not a text"):
        result_of(tmp_path / "a.json", None, path=["x"])
