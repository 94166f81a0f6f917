"""Whose a folder is: other runs' results stay, two at once do not meet, a run finds its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnas.errors import UserError
from dnas.files import write_atomic, write_json
from dnas.files.lock import taken
from dnas.runs.folder import BEGUN, Claim, Claiming, Owner, claimed, still_stands

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "strategy": "dmasking", "data": "a" * 64, "budgets": ["100kFLOPs"], "seed": 0, "settings": {"epochs": 1.0},
}  # fmt: skip
OTHERS = {
    "budgets": (["300kFLOPs"], "budget 100kFLOPs there, 300kFLOPs here"),
    "data": ("b" * 64, "other data"),
    "strategy": ("random", "strategy dmasking there, random here"),
    "seed": (7, "seed 0 there, 7 here"),
    "settings": ({"epochs": 2.0}, "epochs 1.0 there, 2.0 here"),
}


def run(**changed) -> Owner:
    return Owner("search", IDENTITY | changed)


def nothing_to_read(_: Path) -> None: ...


def ended(claim: Claim, text: str = "whole") -> None:
    with claim.result(nothing_to_read) as staged:
        write_atomic(staged / "weights.safetensors", text)
        write_json(staged / "provenance.json", claim.record(staged))


@contextmanager
def claims(folder: Path, who: Owner, said: list[str] | None = None, **terms) -> Iterator[Claim]:
    with claimed(folder, who, Claiming(**terms), (said if said is not None else []).append) as claim:
        yield claim


def searched(folder: Path, who: Owner, said: list[str] | None = None, **terms) -> Path:
    with claims(folder, who, said, **terms) as claim:
        if not claim.finished:
            ended(claim, str(who.identity))
    return claim.folder


def interrupted(folder: Path, who: Owner, **terms) -> Path:
    """A run that was stopped after its first checkpoint."""
    with claims(folder, who, **terms) as claim:
        write_atomic(claim.folder / "checkpoints" / "1" / "state", "1")
    return claim.folder


@pytest.mark.parametrize("key", OTHERS)
def test_another_runs_result_is_refused_in_one_line_that_says_what_differs(key, tmp_path):
    searched(tmp_path / "out", run())
    value, said = OTHERS[key]
    for terms in ({}, {"resume": True}):
        with pytest.raises(UserError, match="holds the result of another run.*--overwrite") as refused:
            searched(tmp_path / "out", run(**{key: value}), **terms)
        assert said in str(refused.value) and "\n" not in str(refused.value)
    assert (tmp_path / "out" / "weights.safetensors").read_text() == str(IDENTITY)
    searched(tmp_path / "out", run(**{key: value}), overwrite=True)
    assert (tmp_path / "out" / "weights.safetensors").read_text() != str(IDENTITY)


def test_the_very_same_run_replaces_its_result(tmp_path):
    searched(tmp_path, run())
    searched(tmp_path, run())
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "provenance.json"}


def test_a_name_of_ours_gets_a_number_where_another_run_has_it(tmp_path):
    home, said = tmp_path / "runs" / "tiny-0", []
    assert searched(home, run(), said, numbered=True) == home and not said
    for n, key in enumerate(OTHERS, 2):
        value, why = OTHERS[key]
        found = searched(home, run(**{key: value}), said, numbered=True)
        assert found == home.with_name(f"tiny-0-{n}") and why in said[-1] and str(found) in said[-1]
    assert searched(home, run(seed=7), said, numbered=True).name == "tiny-0-5"  # its own again
    assert searched(home, run(), said, numbered=True) == home


def test_resume_finds_its_own_among_them(tmp_path):
    home, said = tmp_path / "tiny-0", []
    searched(home, run(), numbered=True)
    assert interrupted(home, run(seed=1), numbered=True).name == "tiny-0-2"
    assert interrupted(home, run(seed=2), numbered=True).name == "tiny-0-3"
    with claims(home, run(seed=2), said, numbered=True, resume=True) as claim:
        assert claim.folder.name == "tiny-0-3" and not claim.finished and "seed 0 there, 2 here" in said[0]
        assert (claim.folder / "checkpoints" / "1" / "state").exists()
        ended(claim)
    with claims(home, run(seed=2), numbered=True, resume=True) as claim:
        assert claim.folder.name == "tiny-0-3" and claim.finished
    with claims(home, run(), numbered=True, resume=True) as claim:
        assert claim.folder == home and claim.finished
    with claims(home, run(seed=9), numbered=True, resume=True) as claim:
        assert claim.folder.name == "tiny-0-4" and not claim.finished


def test_a_run_killed_before_its_first_checkpoint_owns_its_folder(tmp_path):
    home = tmp_path / "tiny-0"
    code = (
        "import os, sys; from pathlib import Path; from tests.runs.test_folder import *\n"
        "with claims(Path(sys.argv[1]), run(), numbered=True): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(home)], cwd=ROOT).returncode == -9
    assert (home / BEGUN).exists()
    assert searched(home, run(seed=1), numbered=True).name == "tiny-0-2"
    with pytest.raises(UserError, match="belongs to another run, which has not ended .*seed 0 there, 1 here"):
        searched(home, run(seed=1))
    assert searched(home, run(), numbered=True, resume=True) == home


def test_a_run_that_begins_anew_beside_its_own_checkpoints_says_so(tmp_path):
    out, said = interrupted(tmp_path / "run", run()), []
    with claims(out, run(), said, resume=True):
        assert said == []
    with claims(out, run(), said):
        assert "--resume would go on" in said.pop()
    searched(out, run(), said)
    assert len(said) == 1
    searched(out, run(), said)
    assert len(said) == 1, "a whole result is no checkpoint"


def test_checkpoints_of_a_run_that_is_replaced_are_never_taken_for_those_of_the_new_one(tmp_path):
    """The new one may be killed before it has steps of its own."""
    out = interrupted(tmp_path / "out", run())
    with claims(out, run(seed=1), overwrite=True) as claim:
        assert not (claim.folder / "checkpoints").exists() and (claim.folder / BEGUN).exists()
    out = interrupted(tmp_path / "forced", run())
    with claims(out, run(seed=1), resume=True, overwrite=True):
        assert (out / "checkpoints" / "1" / "state").exists(), "--force may go on from them"


def test_runs_of_several_seeds_that_are_to_be_replaced_are_known_until_all_are(tmp_path):
    out, former, new = tmp_path / "out", run(seeds=True), run(seeds=True, budgets=["1MFLOPs"])
    with claims(out, former) as claim:
        for seed in range(3):
            searched(out / "seeds" / str(seed), run(seed=seed))
        ended(claim)
    with claims(out, new, overwrite=True) as claim:
        assert set(claim.replaces) == {"0", "1", "2"}
        searched(out / "seeds" / "0", run(seed=0, budgets=["1MFLOPs"]), overwrite=True)
    for _ in range(2):  # stopped again and again
        with claims(out, new) as claim:
            left = [n for n, mark in claim.replaces.items() if still_stands(out / "seeds" / n, mark)]
            assert sorted(left) == ["1", "2"]
    searched(out, new)
    with claims(out, new) as claim:
        assert claim.replaces == {}


def test_a_run_that_fails_before_it_has_anything_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with claims(tmp_path / "out", run()):
            raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
    searched(tmp_path / "out", run())
    with pytest.raises(ZeroDivisionError):
        with claims(tmp_path / "out", run(seed=1), overwrite=True):
            raise ZeroDivisionError
    searched(tmp_path / "out", run(), resume=True)


def test_checkpoints_of_another_run_are_refused_and_left_to_their_reader_on_resume(tmp_path):
    interrupted(tmp_path / "out", run())
    with pytest.raises(UserError, match="another run's checkpoints .*seed 0 there, 1 here"):
        searched(tmp_path / "out", run(seed=1))
    with claims(tmp_path / "out", run(seed=1), resume=True) as claim:
        assert not claim.finished
    assert (tmp_path / "out" / "checkpoints" / "1" / "state").exists()


@pytest.mark.parametrize(
    "name",
    [
        "architecture.json",
        "recipe.yaml",
        "preprocessor_config.json",
        "run.json",
        "compression.md",
        "checkpoints",
        "chain",
    ],
)
def test_files_that_no_run_has_claimed_are_not_overwritten(name, tmp_path):
    (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=f"holds {name}, which no run of dnas has claimed"):
        searched(tmp_path, run())
    assert not (tmp_path / ".dnas-lock").exists()


def test_a_folder_with_files_of_other_names_may_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    searched(tmp_path, run())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_results_of_former_versions_are_known_by_their_provenance(tmp_path):
    for name in ("architecture.json", "weights.safetensors", "history.jsonl", "chain/001.json", "chain.json"):
        write_atomic(tmp_path / name, "{}")
    write_json(tmp_path / "provenance.json", {"seed": 0, "identity": IDENTITY})
    with claims(tmp_path, run(), resume=True) as claim:
        assert claim.finished
    with pytest.raises(UserError, match="seed 0 there, 1 here"):
        searched(tmp_path, run(seed=1))
    searched(tmp_path, run(seed=1), overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "provenance.json"}


HOLDER = """
import sys
from pathlib import Path
from tests.runs.test_folder import *
with claims(Path(sys.argv[1]), run(), numbered=True):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_two_at_once_do_not_share_a_folder(tmp_path):
    home, said = tmp_path / "tiny-0", []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
    with pytest.raises(UserError, match="another run is at work in this folder"):
        searched(home, run())
    for how in ({}, {"overwrite": True}):  # what can be done is to wait, or to take another folder
        with pytest.raises(UserError, match="another run is at work in this folder; wait for it"):
            searched(home, run(seed=1), **how)
    assert searched(home, run(), said, numbered=True).name == "tiny-0-2" and "at work in" in said[0]
    holder.kill()
    holder.communicate()
    assert searched(home, run()) == home  # the system has given the lock back


def test_a_lock_is_free_again_when_it_is_released(tmp_path):
    first = taken(tmp_path)
    assert first is not None and taken(tmp_path) is None
    first.release()
    second = taken(tmp_path)
    assert second is not None
    second.release()
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_no_reason_to_stop(tmp_path, monkeypatch):
    def none(_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("dnas.files.lock._held", none)
    assert searched(tmp_path / "out", run()) == tmp_path / "out"


def test_checkpoints_behind_a_link_are_refused_and_a_whole_folder_behind_one_is_not(tmp_path):
    """They stayed when the run had ended, and the next one's were not written where a step's was there already."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for folder in (out, elsewhere / "1"):
        folder.mkdir(parents=True)
    (out / "checkpoints").symlink_to(elsewhere)
    with pytest.raises(UserError, match="checkpoints: a link"), claims(out, run(), overwrite=True):
        pass
    assert (elsewhere / "1").is_dir()
    (tmp_path / "link").symlink_to(elsewhere)
    assert searched(tmp_path / "link", run()) == tmp_path / "link" and (elsewhere / "weights.safetensors").is_file()


def test_a_name_with_a_null_character_is_refused_in_one_line():
    with pytest.raises(UserError, match="without null characters"), claims(Path("a\0b"), run()):
        pass


def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_made(tmp_path):
    """Checkpoints cannot be written there."""
    out = tmp_path / os.fsdecode(b"caf\xe9") / "out"
    with pytest.raises(UserError, match=r"--out .*caf\\xe9/out: not UTF-8 text"):
        searched(out, run())
    assert not out.parent.exists()
