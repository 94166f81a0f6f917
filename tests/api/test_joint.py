"""A search of architecture and recipe together, from Python."""

from __future__ import annotations

import pytest

import dnas
from tests.api.small import SPACE, arrays

RECIPE = {"epochs": 1, "batch_size": 16, "validation": 0.2, "lr": {"choices": [0.02, 0.2]}}
JOINT = SPACE | {"recipe": RECIPE, "strategy": "joint"}
FEW = {"trainings": 3, "rounds": 0}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("joint") / "out"
    return dnas.run_search(JOINT, data=arrays(), budgets="4kMACs", out=out, quiet=True, **FEW)


@pytest.mark.slow
def test_the_result_has_architecture_recipe_and_history(found):
    assert isinstance(found, dnas.JointResult)
    assert found.architecture.costs["macs"] == found.budgets[0]["cost"] <= 4000
    assert found.recipe["lr"] == found.choices["recipe.lr"] and found.recipe["epochs"] == 1
    assert found.choices["trunk.1.out"] in (4, 6, 8)
    assert len(found.record["trained"]) == 2 and 0 <= found.accuracy["test"] <= 1
    assert len(found.history["loss"]) == len(found.history["step"]) > 0


@pytest.mark.slow
def test_it_is_opened_saved_and_continued(found, tmp_path, capfd):
    """Arrays lie in the folder, so that later commands find them; the same call trains nothing."""
    again = dnas.open_run(found.folder)
    assert isinstance(again, dnas.JointResult) and again.record == found.record
    copy = dnas.open_run(found.save(tmp_path / "copy"))
    assert isinstance(copy, dnas.JointResult) and copy.recipe == found.recipe
    files = {f: f.stat().st_mtime_ns for f in found.folder.glob("trainings/*/provenance.json")}
    same = dnas.run_search(JOINT, data=arrays(), budgets="4kMACs", out=found.folder, **FEW)
    assert {f: f.stat().st_mtime_ns for f in files} == files and same.document == found.document
    assert "next:" not in capfd.readouterr().out
    trained = dnas.run_training(found, recipe=found.folder / "recipe.yaml", init="scratch", quiet=True)
    assert trained.accuracy["test"] == found.accuracy["test"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"preset": "smoke"}, "preset: not of strategy 'joint'"),
        ({"theta_lr": 0.1}, "theta_lr: not of strategy 'joint' .*accepted: trainings, rounds"),
        ({"trainings": 2}, "--trainings: out of range"),
        ({"workers": 0}, "--workers: out of range"),
        ({"budgets": "1MACs"}, "out of reach"),
        ({"start": "tiny"}, "start: not of strategy"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, given, said):
    out = tmp_path / "out"
    with pytest.raises(dnas.UserError, match=said):
        dnas.run_search(JOINT, data=arrays(), out=out, quiet=True, **{"budgets": "4kMACs", **given})
    assert not out.exists()
