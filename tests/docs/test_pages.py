"""What pages say of options, fields and files is so: links lead somewhere, options exist, tables are whole."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import dnas
from dnas.blocks import KINDS
from dnas.cli.argument_class import commands, options
from dnas.cli.commands import COMMANDS
from dnas.space.fields import REQUIRED
from dnas.train.recipe import read_recipe
from dnas.train.recipe_fields import FIELDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "lut" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GRAMMAR, TRAINING = ((ROOT / "docs" / name).read_text() for name in ("grammar.md", "training.md"))
FOREIGN = {
    "--px", "--batch", "--rounds", "--budgets", "--jobs", "--nodes", "--ntasks-per-node", "--gpus-per-node", "--signal",
    "--worker", "--command", "--space", "--data", "--no-deps", "--version", "--help",
}  # fmt: skip
"""Options of scripts and of other programs."""
SHORTCUTS = {"shortcuts", "shortcut_blocks", "shortcut_act", "shortcut_factor"}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def known_options() -> dict[str, set[str]]:
    """Command -> its options."""
    found = {}
    for name, command in COMMANDS.items():
        arguments = import_module(command.module).Arguments
        parts = list(commands(arguments).values()) or [arguments]
        found[name] = {option for part in parts for option in options(part)}
    return found


OPTIONS = known_options()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_on_pages_exist(page):
    text = page.read_text()
    every = set().union(*OPTIONS.values()) | FOREIGN
    assert not set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) - every
    for name, given in re.findall(r"^(?:python -m )?dnas[ .](\w+) ((?:[^#\n]|\\\n)*)", text, re.M):
        if name in OPTIONS and page.name != "README.md":  # where some lines hold two commands
            assert not set(re.findall(r"(?<![\w-])--[a-z][\w-]*", given)) - OPTIONS[name], given


def row(page: str, name: str) -> str:
    """The first row of a page's tables that begins with a name."""
    return re.findall(rf"^\| `{name}` \| .*$", page, re.M)[0]


def test_every_block_kind_has_a_row_with_its_fields():
    transformers = (ROOT / "docs" / "transformers.md").read_text()
    for name, kind in KINDS.items():
        convolutional = f"\n| `{name}` | " in GRAMMAR
        line = row(GRAMMAR if convolutional else transformers, name)
        for field, of in kind.fields.items():
            if field in SHORTCUTS:
                continue
            assert f"`{field}`{'*' if of.searchable else ''}" in line, (name, field)
            if convolutional and isinstance(of.default, bool | int | str) and of.default is not REQUIRED:
                shown = str(of.default).lower() if isinstance(of.default, bool) else str(of.default)
                assert re.search(rf"`{field}`\*? \({re.escape(shown)}\b", line), (name, field)


def test_the_example_space_loads():
    (text,) = re.findall(r"```yaml\n(.*?)```", GRAMMAR, re.S)
    space = dnas.load(yaml.safe_load(text))
    assert space.cost_range["macs"]["smallest"] < 600_000 < space.cost_range["macs"]["largest"]


def test_the_example_of_the_readme_loads():
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert dnas.load(yaml.safe_load(text)).choices


def test_every_field_of_a_recipe_has_a_row_with_its_default():
    for name, field in FIELDS.items():
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else default if isinstance(default, str) else None
        shown = shown or ("none" if default == () else f"{default:g}")
        assert f"\n| `{name}` | {shown} | {field.accepts} | {field.about} |\n" in TRAINING, name


def test_the_example_recipe_and_the_shipped_ones_are_there(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", TRAINING, re.S)
    (tmp_path / "photos.yaml").write_text(text)
    assert read_recipe(tmp_path / "photos.yaml").fixed().epochs == 60
    assert all(f"`{path.stem}`" in TRAINING for path in (ROOT / "search_spaces" / "recipes").glob("*.yaml"))


def test_messages_of_the_guide_are_those_of_the_code():
    sources = "\n".join(path.read_text() for path in (ROOT / "dnas").rglob("*.py"))
    table = (ROOT / "docs" / "guide.md").read_text().partition("| it says |")[2].partition("\n\n")[0]
    quoted = [text for line in table.splitlines() for text in re.findall(r"`([^`]*)`", line.split(" | ")[0])]
    parts = [part.strip() for text in quoted for part in re.split(r"\.\.\.|;", text) if len(part.strip()) > 5]
    assert len(parts) > 9 and not [part for part in parts if part not in sources and not part.startswith("is it good?")]


def test_every_package_has_its_row():
    text = (ROOT / "docs" / "layout.md").read_text()
    packages = [path.parent.name for path in (ROOT / "dnas").glob("*/__init__.py")]
    assert packages and not [name for name in packages if f"`{name}`" not in text]


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    assert all(f"dnas {name} " in text or f"dnas {name}\n" in text for name in COMMANDS)
