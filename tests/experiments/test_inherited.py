"""experiments/inherited.py: means and spreads of what results record."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = sorted((ROOT / "tests" / "report" / "runs").glob("tiny-*"))


def command(*argv: str) -> subprocess.CompletedProcess:
    script = ROOT / "experiments" / "inherited.py"
    return subprocess.run([sys.executable, script, *argv], capture_output=True, text=True, cwd=ROOT)


def test_table_of_results(tmp_path):
    done = command(*map(str, RUNS), "--out", str(tmp_path / "t.md"))
    assert done.returncode == 0 and (tmp_path / "t.md").read_text() == done.stdout
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| tiny"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "tiny, dmasking, 0.2MFLOPs, 4 epochs of fashion-mnist-5k" and cells[1] == str(len(RUNS))
    for cell, name in zip(cells[2:], ("soft_before", "soft", "derived_before", "derived"), strict=False):
        values = [100 * json.loads((r / "architecture.json").read_text())["search"]["inherited_accuracy"][name]
                  for r in RUNS]  # fmt: skip
        assert cell == f"{statistics.mean(values):.1f} +- {statistics.stdev(values):.1f}"


def test_a_folder_without_a_search_is_refused(tmp_path):
    done = command(str(tmp_path))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and str(tmp_path) in done.stderr
    (tmp_path / "architecture.json").write_text("{}")
    assert "not the result of a search" in command(str(tmp_path)).stderr
