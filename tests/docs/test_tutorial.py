"""The tutorial's cells run as they stand, and what is stored of them names no machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS, 1):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert {"net", "net.onnx", "report.html"} <= {path.name for path in (tmp_path / "tutorial").iterdir()}
    assert str(tmp_path) not in capsys.readouterr().out


def test_outputs_are_there_and_name_no_machine():
    outputs = json.dumps([cell["outputs"] for cell in CELLS])
    assert len(outputs) > 1000 and '"error"' not in outputs
    assert not re.search(r"[\"' ]/(home|root|tmp|usr|work|Users)/|[A-Z]:\\\\", outputs)
