"""The study of experiments/fashion.py: its draws, its baseline, its figures, and a run in miniature."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dnas.cost.count import count
from dnas.data.load import load
from dnas.errors import UserError
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import architecture

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("fashion_study", ROOT / "experiments" / "fashion.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fashion_study"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("budget", [1e6, 2e6, 4e6, 8e6])
def test_random_networks_use_their_budget(study, budget):
    space = load_space("fashion")
    drawn = [study.random_within(space, budget, np.random.default_rng(seed)) for seed in range(3)]
    for assignment in drawn:
        macs = count(architecture(space, assignment).network)["macs"]
        assert 0.97 * budget <= macs <= budget
    assert len({tuple(a.values()) for a in drawn}) == 3
    assert study.random_within(space, budget, np.random.default_rng(0)) == drawn[0]


def test_a_budget_out_of_reach_is_said(study):
    with pytest.raises(UserError, match="no random network of fashion"):
        study.random_within(load_space("fashion"), 1e3, np.random.default_rng(0), most=20_000)
    with pytest.raises(UserError, match="the baseline costs"):
        study.width_scaled(load_space("fashion"), 1e3)


def test_draws_are_even_over_the_options_in_the_band(study):
    """On a space of twelve networks, all within the band, each is drawn equally often."""
    space = space_from_data(
        {
            "name": "few", "input": {"channels": 1, "classes": 2, "resolution": 4},
            "trunk": [{"conv": {"out": {"choices": [400, 401, 402]}, "act": {"choices": ["relu", "hswish"]}}},
                      {"conv": {"out": 64, "act": {"choices": ["relu", "gelu"]}}}],
            "head": [{"pool": {}}, {"linear": {"out": 2}}],
        },
        "few",
    )  # fmt: skip
    largest = count(architecture(space, {c.name: len(c) - 1 for c in space.choices}).network)["macs"]
    generator = np.random.default_rng(0)
    seen: dict[tuple, int] = {}
    for _ in range(600):
        key = tuple(study.random_within(space, largest, generator).values())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 12 and min(seen.values()) > 25 and max(seen.values()) < 85


@pytest.mark.parametrize("budget", [1e6, 2e6, 4e6, 8e6])
def test_the_baseline_is_as_wide_as_the_budget_allows(study, budget):
    data = study.width_scaled(load_space("fashion"), budget)
    macs = count(space_from_data(data, "baseline"))["macs"]
    assert 0.9 * budget <= macs <= budget


@pytest.mark.parametrize("budget", [1e6, 2e6, 4e6])
def test_the_space_reaches_beyond_the_baseline(study, budget):
    """Its narrowest network keeps every block and the budget; stage by stage its widths enclose the baseline's."""
    space = load_space("fashion")
    assert count(architecture(space, {c.name: 0 for c in space.choices}).network)["macs"] <= budget
    widths = [int(w) for w in study.width_scaled(space, budget)["name"].split("-")[1:]]
    for stage, width in zip(("c1", "c2", "c3"), widths, strict=True):
        (options,) = {c.options for c in space.choices if c.name == stage}
        assert min(options) <= width + 2 and width <= max(options), "widths of the baseline are even, not of the space"


def test_figures_of_a_group(study):
    found = study.summary([0.90, 0.92, 0.94])
    assert found == {
        "n": 3,
        "mean": pytest.approx(0.92),
        "spread": pytest.approx(0.02),
        "error": pytest.approx(0.011547, abs=1e-6),
    }
    assert study.summary([0.9]) == {"n": 1, "mean": 0.9, "spread": 0.0, "error": 0.0}
    parts = {
        f"{group}-{n}": {"group": group, "budget": 1.0, "number": n, "macs": 10**6 - n, "test": value}
        for group, values in {"found": [0.92, 0.94], "random": [0.90, 0.91]}.items() for n, value in enumerate(values)
    }  # fmt: skip
    ours, other = study.rows({"parts": parts})
    assert ours["mean"] == pytest.approx(0.93) and other["found_ahead"] == pytest.approx(0.025)
    assert other["found_ahead_error"] == pytest.approx(np.hypot(0.01, 0.005)) and other["macs"] == [999_999, 1_000_000]


def test_choices_are_told_as_they_stood_in_the_middle(study, tmp_path):
    rows = [{"phase": "warm-up", "step": 10, "probabilities": {"a.kernel": [1.0, 0.0]}}]
    rows += [
        {"phase": "search", "step": step, "probabilities": {"a.kernel": [p, 1 - p], "b.kernel": [0.5, 0.5]}}
        for step, p in ((20, 0.6), (30, 1.0), (40, 0.9))
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert study.openness([(0.5, tmp_path)])[-1] == "| 0.5 M | kernel | 2 | 0.50 | 50% |"
    assert study.openness([]) == []


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.slow
def test_a_study_in_miniature_and_its_continuation(tmp_path):
    embedded = load(None)
    data = tmp_path / "data"
    data.mkdir()
    for stem, images, labels in (
        ("train", embedded.train_images[:400], embedded.train_labels[:400]),
        ("t10k", embedded.test_images[:100], embedded.test_labels[:100]),
    ):
        write_idx(data / f"{stem}-images-idx3-ubyte", images[..., 0])
        write_idx(data / f"{stem}-labels-idx1-ubyte", labels)
    command = [
        sys.executable, ROOT / "experiments" / "fashion.py", "--data", data, "--out", tmp_path / "out", "--budgets",
        "1", "--seeds", "1", "--random", "2", "--search-epochs", "0.3", "--epochs", "2", "--jobs", "2",
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT)
    table = (tmp_path / "out" / "table.md").read_text()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["parts"]) == {"found-1-0", "baseline-1-0", "random-1-0", "random-1-1"}
    assert [row["group"] for row in results["rows"]] == ["found", "random", "baseline"]
    assert all(part["macs"] <= 1_000_000 for part in results["parts"].values()) and "| random | 2 |" in table
    kept = results["parts"].pop("random-1-1")
    (tmp_path / "out" / "results.json").write_text(json.dumps(results))
    again = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert "random-1-1:" in again and "found-1-0:" not in again
    redone = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]["random-1-1"]
    timeless = {key: value for key, value in kept.items() if not key.endswith("_s")}
    assert timeless == {key: value for key, value in redone.items() if not key.endswith("_s")}
    other = subprocess.run([*command, "--epochs", "3"], cwd=ROOT, capture_output=True, text=True)
    assert other.returncode != 0 and "other options" in other.stderr
