"""A set of files is replaced wholly or not at all, whenever its writer dies."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dnas.errors import InputError, UserError
from dnas.files import write_atomic, write_json
from dnas.files.sets import MOVING, current, finish, names, replacing

FORMER = {"architecture.json": "1", "weights": "1", "chain/001.json": "1", "chain/002.json": "1", "chain.json": "1"}
NEW = {"architecture.json": "2", "weights": "2", "family/one.json": "2"}
EVERY = sorted({*FORMER, *NEW})


def put(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("the user's own")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def replace(folder: Path) -> None:
    with replacing(folder, tuple(FORMER)) as staged:
        for name, text in NEW.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(text)


def seen(folder: Path) -> dict[str, str]:
    """What a reader finds."""
    found = {name: current(folder / name) for name in EVERY}
    return {name: path.read_text() for name, path in found.items() if path.is_file()}


def test_the_former_set_goes_with_all_its_files(tmp_path):
    put(tmp_path, FORMER)
    replace(tmp_path)
    assert seen(tmp_path) == NEW and names(tmp_path) == tuple(sorted({*NEW, "notes.txt"}))
    assert {path.name for path in tmp_path.iterdir()} == {"architecture.json", "weights", "family", "notes.txt"}


CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open")


def dies_at(folder: Path, moment: int) -> bool:
    """Whether a process that replaces the set came to its `moment`th system call, at which it is killed."""
    child = os.fork()
    if not child:
        left = moment

        def counted(call: Callable) -> Callable:
            def counting(*arguments, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return call(*arguments, **named)

            return counting

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        replace(folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_kill_at_any_step_leaves_the_former_set_or_the_new_one(tmp_path):
    views = []
    for moment in range(1000):
        folder = tmp_path / str(moment)
        put(folder, FORMER)
        if not dies_at(folder, moment):
            break
        views.append(seen(folder))
        assert views[-1] in (FORMER, NEW), moment
        finish(folder)
        assert seen(folder) == views[-1], moment
        assert names(folder) == tuple(sorted({*views[-1], "notes.txt"})), moment
        assert not any(path.name.startswith(".") for path in folder.iterdir()), moment
        replace(folder)
        assert seen(folder) == NEW
    assert len(views) > 20 and views[0] == FORMER and views[-1] == NEW


def test_readers_find_the_set_under_way_in_a_folder_that_cannot_be_written(tmp_path):
    put(tmp_path, FORMER)
    (tmp_path / MOVING).mkdir()
    write_atomic(tmp_path / MOVING / "weights", "2")
    write_json(tmp_path / MOVING / "files.json", {"files": ["weights", "architecture.json"], "removed": ["chain.json"]})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert current(tmp_path / "weights").read_text() == "2"
    assert current(tmp_path / "architecture.json").read_text() == "1"  # there already
    assert not current(tmp_path / "chain.json").exists()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_an_error_of_the_disk_leaves_the_former_set(call, number, tmp_path, monkeypatch):
    put(tmp_path, FORMER)
    (tmp_path / "family").mkdir()

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UserError, match="cannot write"):
        replace(tmp_path)
    monkeypatch.undo()
    assert seen(tmp_path) == FORMER and {*names(tmp_path)} == {*FORMER, "notes.txt"}


def test_what_cannot_be_read_back_replaces_nothing(tmp_path):
    put(tmp_path, FORMER)

    def unreadable(staged: Path) -> None:
        assert (staged / "weights").read_text() == "2"
        raise InputError(str(staged / "weights"), "not readable")

    with pytest.raises(InputError, match="not readable"):
        with replacing(tmp_path, (), unreadable) as staged:
            write_atomic(staged / "weights", "2")
    assert seen(tmp_path) == FORMER and not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    put(tmp_path, FORMER)
    (tmp_path / "family" / "one.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"family/one\.json: a folder stands"):
        replace(tmp_path)
    assert seen(tmp_path) == FORMER


@pytest.mark.parametrize("name", ["../out.txt", "/etc/passwd", "a/../../out.txt", "a/b/c", "..", "", 7])
def test_a_list_that_leads_out_of_the_folder_is_not_followed(name, tmp_path):
    folder = tmp_path / "in"
    put(folder, FORMER)
    (tmp_path / "out.txt").write_text("mine")
    (folder / MOVING).mkdir()
    (folder / MOVING / "files.json").write_text(json.dumps({"files": [], "removed": [name]}))
    finish(folder)
    assert (tmp_path / "out.txt").read_text() == "mine" and seen(folder) == FORMER
