"""The page for contributors, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text()
CODE = [textwrap.dedent(code) for code in re.findall(r"^ *```python\n(.*?)^ *```$", PAGE, re.M | re.S)]


def code_with(text: str) -> str:
    """The one piece of code of the page that holds a text."""
    (found,) = [code for code in CODE if text in code]
    return found


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("dnas", "search_spaces", "lut", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(copy), "DNAS_KERNELS": "0"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))


@pytest.mark.slow
def test_first_block_kind(copy):
    (copy / "dnas/blocks/bottleneck.py").write_text(code_with('@block(\n    "bottleneck"'))
    (line,) = re.findall(r"`(from dnas\.blocks import bottleneck as bottleneck)`", PAGE)
    with (copy / "dnas/blocks/__init__.py").open("a") as file:
        file.write(line + "\n")
    assert "smallest" in run(copy, "-c", code_with('"name": "mine"') + "print(run.architecture.costs)")
    run(copy, "-m", "dnas.cli.schema")
    assert '"bottleneck"' in (copy / "search_spaces/schema.json").read_text()


@pytest.mark.slow
def test_first_operator(copy):
    (copy / "dnas/ops/square.py").write_text(code_with('@operator("square")'))
    (line,) = re.findall(r"`(from dnas\.ops\.square import Square as Square)`", PAGE)
    with (copy / "dnas/ops/__init__.py").open("a") as file:
        file.write(line + "\n")
    contract = copy / "tests/ops/test_contract.py"
    (example,) = re.findall(r"`(\"square\": Example\(.*\),)`", PAGE)
    change(contract, "    Softmax,\n", "    Softmax,\n    Square,\n")
    change(contract, "EXAMPLES = {\n", f"EXAMPLES = {{\n    {example}\n")
    run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops", "-k", "square")


@pytest.mark.slow
def test_first_strategy(copy):
    (copy / "dnas/search/strategies/lottery.py").write_text(code_with('NAME = "lottery"'))
    change(copy / "dnas/search/strategies/__init__.py", "NAMES = (", 'NAMES = ("lottery", ')
    change(copy / "dnas/cli/search.py", '"joint"] | None', '"joint", "lottery"] | None')
    (command,) = re.findall(r"`python (-m dnas\.search .* --strategy lottery)`", PAGE)
    assert "written to runs/tiny-0" in run(copy, *command.split())
