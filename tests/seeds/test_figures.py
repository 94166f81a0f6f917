"""Mean and spread of runs, without a run."""

from __future__ import annotations

import pytest

from dnas.seeds import table
from dnas.seeds.figures import Outcome, best, spreads

RUNS = [
    Outcome(seed, f"seeds/{seed}", {"macs": macs, "params": 50.0, "validation": validation, "test": test}, f"{macs}")
    for seed, macs, validation, test in [(3, 1000.0, 0.5, 0.9), (4, 2000.0, 0.7, 0.4), (5, 2000.0, 0.7, 0.8)]
]


def test_mean_standard_deviation_and_standard_error():
    found = spreads(RUNS)
    assert list(found) == ["macs", "params", "validation", "test"]
    test = found["test"]  # 0.9, 0.4, 0.8: squares of differences from 0.7 add up to 0.14
    assert test.mean == 0.7 and test.deviation == pytest.approx(0.07**0.5, abs=1e-6)
    assert test.error == pytest.approx((0.07 / 3) ** 0.5, abs=1e-6)
    assert found["params"].deviation == 0


def test_one_run_has_no_spread():
    (name, only), *_ = spreads(RUNS[:1]).items()
    assert (name, only.mean, only.deviation, only.error) == ("macs", 1000, None, None)
    assert "| standard error | - | - | - | - |" in table.markdown("train", "mine", RUNS[:1])


def test_the_one_to_take_is_best_by_validation_never_by_test():
    take = best(RUNS)
    assert take is not None and take.seed == 4
    document = table.document("search", "tiny", RUNS)
    assert document["take"] == {"seed": 4, "folder": "seeds/4", "by": "validation accuracy"}
    assert document["seeds"] == [3, 4, 5] and document["different_networks"] == 2
    assert "take seeds/4" in list(table.said(RUNS))[-1]


def test_without_a_validation_accuracy_of_all_none_is_named():
    blind = [*RUNS[:2], Outcome(5, "seeds/5", {"macs": 1.0, "params": 2.0, "test": 0.9}, "x")]
    assert best(blind) is None and list(spreads(blind)) == ["macs", "params", "test"]
    assert table.document("search", "tiny", blind)["take"] is None
    assert "none of them is named" in table.markdown("search", "tiny", blind).lower()


def test_the_table_has_a_row_for_each_run_and_three_below():
    text = table.markdown("train", "mine", RUNS)
    assert text.startswith("# mine: dnas.train with 3 seeds\n")
    for line in (
        "| 3 | 1.00 k |",
        "| mean | 1.67 k |",
        "| standard deviation |",
        "| standard error |",
        "| 70.00% | 40.00% |",
    ):
        assert line in text
