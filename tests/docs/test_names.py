"""What pages say of the code is there: every function of the equations' table, and every page in the navigation."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dnas.export.delivery import INPUT, LABELS, NAME, PREPROCESSING

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
KEYS = {NAME, PREPROCESSING, LABELS, INPUT}
"""Of an exported file's metadata: no names of Python's."""
WRITTEN = re.compile(r"`(dnas(?:\.[A-Za-z_]\w*)+)`|::: (\S+)")
NAMES = sorted({(page.name, "".join(found)) for page in PAGES for found in WRITTEN.findall(page.read_text())})


def found(name: str) -> object:
    """A module, or what it holds, by its dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[length:], module)
    raise AssertionError(name)


@pytest.mark.parametrize("page, name", [pair for pair in NAMES if pair[1] not in KEYS])
def test_every_name_on_a_page_exists(page, name):
    assert found(name) is not None


def test_every_equation_has_a_function():
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    functions = [row for row in rows if row.startswith("`dnas.") and row.count(".") > 1]
    assert len(functions) > 20


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"([\w-]+\.md)", str(yaml.safe_load(text)["nav"])))
    assert listed == {page.name for page in PAGES}


SCRIPTS = [path for path in (ROOT / ".ci").glob("*") if path.is_file()]


@pytest.mark.skipif(not SCRIPTS, reason="the checks that run before a change lands are not here")
def test_tests_that_the_checks_name_exist():
    named = {name for path in SCRIPTS for name in re.findall(r"tests/[\w/]+\.py", path.read_text())}
    assert named and not [name for name in sorted(named) if not (ROOT / name).exists()]
