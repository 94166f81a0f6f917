"""The table of `experiments/budgets.py`: its searches keep the share that it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_searches_use_the_share_that_is_asked_for(tmp_path):
    out = tmp_path / "table.json"
    script = [sys.executable, str(ROOT / "experiments/budgets.py"), "--space", "tiny", "--budgets", "150kFLOPs"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DNAS_KERNELS": "0"}
    done = subprocess.run(
        [*script, "--seeds", "1", "--out", str(out)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["searches"]
    assert 0.97 <= row["shares"][0] <= 1
