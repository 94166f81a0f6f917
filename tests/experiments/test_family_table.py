"""The table of `experiments/family.py` has means and spreads over the seeds, also of all budgets together."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "experiments" / "family.py"


def test_the_spread_of_all_budgets_is_that_of_the_seeds_means():
    spec = importlib.util.spec_from_file_location("experiments_family", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Budgets are 40 points apart, seeds 2: of the family 30 and 70 %, then 32 and 72 %; one by one always 30 and 70 %.
    rows = [("1MFLOPs", 0.3, 0.97, 0.3, 0.98), ("2MFLOPs", 0.7, 0.97, 0.7, 0.98)]
    rows += [("1MFLOPs", 0.32, 0.97, 0.3, 0.98), ("2MFLOPs", 0.72, 0.97, 0.7, 0.98)]
    args = argparse.Namespace(
        space="s", data=None, seeds=[0, 1], epochs=8.0, family=["1MFLOPs", "2MFLOPs"], batch_size=32
    )
    assert module.table(args, rows).splitlines()[-3:] == [
        "| 1MFLOPs | 31.0 +- 1.4 | 30.0 +- 0.0 | 1.0 +- 1.4 | 97.0 +- 0.0 | 98.0 +- 0.0 |",
        "| 2MFLOPs | 71.0 +- 1.4 | 70.0 +- 0.0 | 1.0 +- 1.4 | 97.0 +- 0.0 | 98.0 +- 0.0 |",
        "| all | 51.0 +- 1.4 | 50.0 +- 0.0 | 1.0 +- 1.4 | 97.0 +- 0.0 | 98.0 +- 0.0 |",
    ]
