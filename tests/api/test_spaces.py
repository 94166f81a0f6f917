"""Spaces and architectures by name, path and dict, and what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dnas
from dnas.cli.count import Arguments, main
from tests.api.small import NETWORK, SPACE


def test_names_paths_and_dicts_give_the_same(tmp_path):
    by_name = dnas.load("tiny")
    path = tmp_path / "mine.yaml"
    path.write_text(Path(by_name.source).read_text())
    for other in (dnas.load(path), dnas.load(str(path)), dnas.load(by_name.data), dnas.load(by_name)):
        assert [c.options for c in other.choices] == [c.options for c in by_name.choices]
    assert repr(by_name) == f"<space tiny: {len(by_name.choices)} choices>"
    assert {"tiny", "fbnetv2"} <= set(dnas.space_names()) and "fbnetv2_f4" in dnas.published_names()


def test_a_dict_may_change_after_it_was_loaded():
    mine = {**NETWORK, "input": dict(NETWORK["input"])}
    space = dnas.load(mine)
    mine["input"]["classes"] = 7
    assert space.classes == dnas.load(space).classes == 3
    assert dnas.load(space, classes=5).costs["params"] == space.costs["params"] + 2 * 7


def test_costs_are_those_of_the_command(capsys):
    import json

    main(Arguments("fbnetv2_f0", resolution=96, convention="timm", json=True))
    assert dnas.costs("fbnetv2_f0", resolution=96, convention="timm") == json.loads(capsys.readouterr().out)
    assert dnas.load("fbnetv2_f0").costs == {"macs": 66280000, "params": 2822368}


def test_a_space_says_its_range():
    space = dnas.load(SPACE)
    smallest = space.cost_range["macs"]["smallest"]
    assert smallest < space.cost_range["macs"]["mean"] < space.cost_range["macs"]["largest"]
    assert round(10**space.size_log10) == 6


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda: dnas.load("fbnetv9"), "fbnetv9: unknown space or architecture, did you mean"),
        (lambda: dnas.load({"trunk": []}), "<dict>: 'input' is missing"),
        (lambda: dnas.load({**NETWORK, "trunk": [{"conv": {"kernel": 2}}]}), "<dict>: trunk.0.conv.kernel"),
        (lambda: dnas.load({"trunk": {1, 2}}), "<dict>: not plain data"),
        (lambda: dnas.load({"trunk": float("nan")}), "<dict>: not plain data"),
        (lambda: dnas.load(3), "space: not a space"),  # type: ignore[arg-type]
        (
            lambda: dnas.load(NETWORK, classes=0),
            "--classes: not accepted here (found 0; accepted: an integer from 1 to",
        ),
        (lambda: dnas.load(NETWORK, classes=10**20), "an integer from 1 to 1,000,000"),
        (lambda: dnas.load(NETWORK, classes="10"), "classes: not accepted here (found '10'"),  # type: ignore[arg-type]
        (lambda: dnas.costs(NETWORK, convention=["zoo"]), "convention: not accepted here"),  # type: ignore[arg-type]
        (lambda: dnas.load(SPACE).costs, "search space with 2 choices"),
        (lambda: dnas.costs(NETWORK, convention="tim"), "did you mean 'timm'"),
        (lambda: dnas.costs(NETWORK, resolution=0), "resolution: not accepted here"),
        (lambda: dnas.build(SPACE), "a space with 2 choices, not one architecture"),
    ],
)
def test_mistakes_are_one_line(wrong, said):
    with pytest.raises(dnas.UserError) as caught:
        wrong()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    seven, side = np.array([7, 16])
    assert dnas.load(NETWORK, classes=seven).classes == 7
    assert dnas.costs(NETWORK, resolution=side) == dnas.costs(NETWORK, resolution=16)


@pytest.mark.parametrize(
    "given",
    [
        {"readers": "x"}, {"max_memory": 4}, {"devices": "a"}, {"devices": True}, {"checkpoint_every": "a"},
        {"preset": None}, {"seed": 1.5}, {"quiet": "no"}, {"data_in": "foo"}, {"precision": "f16"}, {"terms": [1]},
    ],
)  # fmt: skip
def test_an_argument_of_another_type_is_one_line(given):
    (name,) = given
    option = name.replace("_", "[_-]")
    with pytest.raises(dnas.UserError, match=f"{option}: (not|unknown)") as caught:
        dnas.run_search(SPACE, **{"budgets": "1MFLOPs", "preset": "smoke", "quiet": True, **given})
    assert "\n" not in str(caught.value) and "Optional" not in str(caught.value)


def test_a_module_for_a_loop_of_ones_own():
    module, variables = dnas.build(NETWORK, resolution=16, classes=4)
    images = np.random.default_rng(0).normal(size=(5, 16, 16, 1)).astype(np.float32)
    assert module.apply(variables, images).shape == (5, 4)
    logits, changed = module.apply(variables, images, train=True, mutable=["batch_stats"])
    assert logits.shape == (5, 4)
    moved = [np.any(changed["batch_stats"][k] != v) for k, v in variables["batch_stats"].items()]
    assert moved and all(moved)
    same = module.init(__import__("jax").random.key(0), images)
    assert {g: set(same[g]) for g in same} == {g: set(variables[g]) for g in variables}
