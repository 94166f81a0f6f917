"""experiments/truth: the arithmetic that strategies are judged by, and the tables that are kept."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dnas.cli import entry
from dnas.cost.count import count
from dnas.errors import InputError
from dnas.graph.architecture import architecture
from dnas.solve.many import as_assignment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments" / "truth"
PARTS = TABLES = ("blocks", "widths")


@pytest.fixture(scope="module")
def truth():
    """The bench's modules."""
    sys.path.insert(0, str(FOLDER))
    import attainable
    import bench
    import figures
    import part

    yield SimpleNamespace(attainable=attainable, bench=bench, figures=figures, part=part)
    sys.path.remove(str(FOLDER))


@pytest.fixture
def made(truth):
    """Six members; 60 % of the budget of 100, 70, 80, 100, 100 and 120."""
    return truth.figures.Truth(
        np.array([60.0, 70.0, 80.0, 100.0, 100.0, 120.0]), np.array([0.85, 0.80, 0.82, 0.84, 0.80, 0.90])
    )


def test_a_band_is_what_uses_most_of_the_budget_and_no_more_than_it(made):
    assert made.within(100).tolist() == [True, True, True, True, True, False]
    assert made.band(100).tolist() == [False, True, True, True, True, False]
    assert made.spread(100) == pytest.approx(np.std([0.80, 0.82, 0.84, 0.80], ddof=1))


def test_training_every_network_once_finds_the_best_but_for_the_noise(truth):
    two = truth.figures.Truth(np.array([1.0, 1.0]), np.array([0.80, 0.81]))
    assert not truth.attainable.regrets(two, 1, 0.0).any()
    # The worse one measures better with probability Phi(-0.01 / (0.01 sqrt 2)) = 0.2398.
    assert truth.attainable.regrets(two, 1, 0.01).mean() == pytest.approx(0.01 * 0.2398, rel=0.05)


def test_regret_is_against_the_best_within_the_budget_even_below_the_band(made):
    assert made.regret(100, 0) == 0 and made.rank(100, 0) == 1
    assert made.regret(100, 2) == pytest.approx(0.03) and made.rank(100, 2) == 3
    assert made.regret(120, 0) == pytest.approx(0.05)
    with pytest.raises(AssertionError):
        made.regret(100, 5)


def test_equal_members_have_equal_ranks(made):
    assert made.rank(100, 1) == made.rank(100, 4) == 4


def test_chance_draws_from_the_band(made):
    assert made.chance(100) == pytest.approx(0.85 - np.mean([0.80, 0.82, 0.84, 0.80]))


def test_spearman_against_known_values(truth):
    spearman = truth.figures.spearman
    assert spearman([1, 2, 3, 4], [10, 20, 30, 99]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 1 - 6 * 0.5 / 60, corrected for the tie.
    assert spearman([1, 2, 2, 4], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_noise_is_the_standard_error_of_a_mean(truth):
    assert truth.figures.noise([[0.80, 0.82], [0.70, 0.70]]) == pytest.approx(math.sqrt((0.0002 + 0) / 2 / 2))
    assert math.isnan(truth.figures.noise([[0.8], [0.7]]))


@pytest.mark.parametrize("name", PARTS)
def test_members_are_different_networks_of_the_counted_cost(truth, name):
    of = truth.part.members(truth.part.PARTS[name].space())
    assert len(set(of.names)) == len(of.names) >= (120 if name == "blocks" else 60)
    files = set()
    for member, macs in list(zip(of.names, of.macs, strict=True))[::9]:
        network = architecture(of.space, as_assignment(np.array(member), of.space.choices))
        assert count(network.network)["macs"] == macs
        files.add(json.dumps(network.data))
    assert len(files) == len(of.names[::9])


@pytest.mark.parametrize("name", TABLES)
def test_the_kept_table_covers_the_space_and_says_how_it_was_made(truth, name):
    part = truth.part.PARTS[name]
    known = truth.bench.known_of(part)
    table = truth.part.read(known.members, part.table_file)
    assert {len(values) for values in table.values()} == {part.seeds}
    import make_table

    record = json.loads(part.table_file.with_suffix(".json").read_text())
    assert record["made_of"]["space_sha256"] == make_table.digest(part.space_file)
    # Members must differ by far more than trainings of one.
    assert known.truth.accuracy.std() > 3 * known.noise


@pytest.mark.parametrize("name", TABLES)
def test_budgets_leave_members_to_choose_from(truth, name):
    part = truth.part.PARTS[name]
    known = truth.bench.known_of(part)
    limits = [truth.bench.limit_of(budget) for budget in part.budgets]
    assert all(a < b for a, b in pairwise(limits))
    assert all(known.truth.band(limit).sum() >= 12 for limit in limits)


def test_a_table_is_read_as_it_was_written(truth, tmp_path):
    of = truth.part.members(truth.part.PARTS["blocks"].space())
    accuracies = {of.names[3]: [0.5, 0.25], of.names[7]: [0.75]}
    (tmp_path / "t.csv").write_text(truth.part.written(of, accuracies))
    assert truth.part.read(of, tmp_path / "t.csv") == accuracies
    assert truth.part.read(of, tmp_path / "none.csv") == {}


def test_a_table_of_another_space_is_refused(truth, tmp_path):
    of = truth.part.members(truth.part.PARTS["blocks"].space())
    text = truth.part.written(of, {of.names[3]: [0.5, 0.25]})
    (tmp_path / "t.csv").write_text(text.replace(f",{of.macs[3]},", ",1,"))
    with pytest.raises(InputError, match=r"t.csv:2.*not a member"):
        truth.part.read(of, tmp_path / "t.csv")
    with pytest.raises(InputError, match="not the choices"):
        truth.part.read(truth.part.members(truth.part.PARTS["widths"].space()), tmp_path / "t.csv")


def test_a_row_says_mean_and_worst_of_the_searches(truth, made):
    bench = truth.bench
    known = bench.Known(SimpleNamespace(), made, 0.001, "")
    case = bench.Case(truth.part.PARTS["blocks"], "100MACs")
    rows = [
        {"member": 3, "spearman": 0.5, "spearman_within": 0.1, "cpu_seconds": 20.0},
        {"member": 2, "spearman": 0.7, "spearman_within": 0.2, "cpu_seconds": 30.0},
    ]
    cells = dict(zip(bench.COLUMNS, bench.cells(case, known, rows), strict=True))
    assert cells == {
        "searched": "blocks, 100MACs", "regret, points: mean": "2.00", "regret, points: worst": "3.00",
        "chance": "3.50", "regret, sd of the band: mean": "1.04", "regret, sd of the band: worst": "1.57",
        "rank: mean": "2.5", "rank: worst": "3", "within (band)": "5 (4)", "Spearman": "0.60",
        "Spearman within": "0.15", "CPU s": "25", "searches": "2",
    }  # fmt: skip


def test_correlations_over_all_ranked_networks_and_over_those_within(truth):
    known = truth.figures.Truth(np.array([10.0, 20, 30, 40, 50]), np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    inherited, ranked = np.array([0.3, 0.6, 0.9, 0.1]), np.array([0, 1, 2, 4])
    found = truth.bench.correlations(inherited, ranked, 30, known)
    assert found == {"spearman": pytest.approx(-0.2), "spearman_within": pytest.approx(1)}


def test_searches_of_other_settings_or_sources_are_not_mixed(truth, made, tmp_path, capsys):
    bench, part = truth.bench, truth.part.PARTS["blocks"]
    known, case = bench.Known(SimpleNamespace(), made, 0.001, "abc"), bench.Case(part, part.budgets[0])
    short, long = (bench.settings_of(part, "random", (f"epochs={n}",)) for n in (1, 2))

    def begun(settings) -> Any:
        results = bench.Results(tmp_path / "r.json", "random")
        results.begin("blocks", settings, known)
        return results

    begun(short).add(case, 0, {"member": 1})
    again = begun(short)
    assert again.has(case, 0) and not again.has(case, 1) and again.rows(case) == [{"member": 1}]
    assert again.cases() == [case] and not capsys.readouterr().err
    assert not begun(long).has(case, 0) and "other settings" in capsys.readouterr().err
    again.data["sources"] = "of before"
    again.add(case, 0, {"member": 1})
    assert not begun(short).has(case, 0) and "other sources" in capsys.readouterr().err
    with pytest.raises(InputError, match="another strategy"):
        bench.Results(tmp_path / "r.json", "evolution")


def test_a_member_is_found_however_it_is_spelled(truth):
    of = truth.part.members(truth.part.PARTS["blocks"].space())
    skipped = {c.name: len(c) - 1 for c in of.space.choices}
    kernels = [name for name in skipped if name.endswith("kernel")]
    assert kernels and of.number(skipped) == of.number(skipped | {kernels[0]: 0})


@pytest.mark.parametrize("wrong", [["--set", "epoch=3"], ["--set", "epochs"], ["--set", "epochs=many"],
                                   ["--set", "gates=hard"], ["--seeds", "0"], ["--budget", "12km"],
                                   ["--budget", "1MACs"], ["--budget", "1Mparams"]])  # fmt: skip
def test_a_mistake_is_one_line_and_code_2(truth, wrong, tmp_path, capsys):
    asked = entry.parse(truth.bench.Arguments, ["--strategy", "random", "--out", str(tmp_path), *wrong])
    assert entry.call(truth.bench.main, asked) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and wrong[0] in said and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_short_search_is_judged_and_not_run_again(tmp_path):
    def judged() -> subprocess.CompletedProcess:
        short = ["--budget", "130kMACs", "--seeds", "1", "--set", "epochs=0.12", "--set", "samples=8"]
        script = [sys.executable, FOLDER / "bench.py", "--strategy", "random", "--out", str(tmp_path), *short]
        sources = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(script, capture_output=True, text=True, cwd=ROOT, env=sources)

    first = judged()
    assert first.returncode == 0 and "blocks, 130kMACs" in first.stdout, first.stderr
    assert (tmp_path / "random.md").read_text() == first.stdout
    again = judged()
    assert again.stdout == first.stdout and again.stderr == ""
